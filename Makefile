# `make demo` and `make test` need no ROS and no Gazebo: they set up .venv by themselves.
PYTHON ?= python3
VENV ?= .venv
OUTPUT ?= output
SIMULATOR ?= mujoco
# Two processes: the tests of real processes in one, all others in the other.
PYTEST_ARGS ?= -n 2

# A sourced ROS must not mix its libraries with those of the virtual environment.
CLEAN := env -u PYTHONPATH -u LD_LIBRARY_PATH -u AMENT_PREFIX_PATH -u CMAKE_PREFIX_PATH \
	-u COLCON_PREFIX_PATH -u ROS_DISTRO -u ROS_VERSION -u RMW_IMPLEMENTATION \
	-u ROS_DISCOVERY_SERVER -u ROS_STATIC_PEERS \
	-u FASTRTPS_DEFAULT_PROFILES_FILE -u FASTDDS_DEFAULT_PROFILES_FILE \
	ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST ROS_LOCALHOST_ONLY=1 OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
PY := $(CLEAN) $(VENV)/bin/python

.PHONY: demo test lint setup interfaces gazebo clean

# SIMULATOR=gazebo simulates in a real Gazebo; the stand-in robot stays in the embedded simulator.
demo: setup $(if $(filter gazebo,$(SIMULATOR)),gazebo)
	$(PY) -m tl_adapt demo --simulator $(SIMULATOR) --output $(OUTPUT)

test: setup lint
	$(PY) -m pytest $(PYTEST_ARGS)

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# Only some simulators need the interface packages, so setup goes on where no compiler is.
setup: $(VENV)/.complete
	@$(PY) -m tl_adapt.ros.interface_build --optional

interfaces: $(VENV)/.complete
	@$(PY) -m tl_adapt.ros.interface_build

# A Gazebo 11 for this user, without root, where there is none; and the plugin that we step it with.
gazebo: setup
	@$(PY) -m tl_adapt.simulators.gazebo.install

$(VENV)/.complete: requirements.txt
	@$(CLEAN) $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo 'Python 3.10 or newer is needed: make PYTHON=python3.11 ...' >&2; exit 2; }
	@test -x $(VENV)/bin/pip || $(CLEAN) $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo 'A virtual environment can not be made: apt install python3-venv' >&2; exit 2; }
	@echo 'Setting up $(VENV): ROS 2 from wheels, MuJoCo and the rest, about 1 GB; a minute or two'
	$(CLEAN) $(VENV)/bin/pip install --quiet --only-binary mujoco -r requirements.txt
	@$(PY) -c "import os, sysconfig; \
		open(os.path.join(sysconfig.get_path('purelib'), 'tl_adapt.pth'), 'w').write(os.getcwd() + '\n')"
	@printf '#!/bin/sh\nexec "%s/bin/python" -m tl_adapt "$$@"\n' "$(abspath $(VENV))" > $(VENV)/bin/tl_adapt
	@chmod +x $(VENV)/bin/tl_adapt
	@touch $@

clean:
	rm -rf $(VENV) $(OUTPUT)
