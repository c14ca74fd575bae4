// Copyright 2026 the tl_adapt authors
// SPDX-License-Identifier: Apache-2.0
//
// World plugin that lets Gazebo run as fast as it can and tells how fast that was: for each of
// FREE_RUN_SECONDS it prints the simulated seconds per wall second, and then ends.

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <gazebo/common/Events.hh>
#include <gazebo/common/Plugin.hh>
#include <gazebo/physics/physics.hh>

class FreeRun : public gazebo::WorldPlugin
{
  using Clock = std::chrono::steady_clock;

public:
  void Load(gazebo::physics::WorldPtr world, sdf::ElementPtr) override
  {
    const char * text = std::getenv("FREE_RUN_SECONDS");
    left_ = text ? std::atol(text) : 10;
    second_ = std::lround(1.0 / world->Physics()->GetMaxStepSize());
    connection_ = gazebo::event::Events::ConnectWorldUpdateEnd([this] {this->End();});
  }

private:
  void End()
  {
    if (++steps_ < second_) {
      return;
    }
    steps_ = 0;
    const auto now = Clock::now();
    if (warm_) {
      std::printf("\nfree_run %.6f\n", 1.0 / std::chrono::duration<double>(now - begin_).count());
      if (--left_ <= 0) {
        std::fflush(stdout);
        _exit(0);
      }
    }
    warm_ = true;
    begin_ = now;
  }

  bool warm_ = false;
  long steps_ = 0, second_ = 1000, left_ = 0;
  Clock::time_point begin_;
  gazebo::event::ConnectionPtr connection_;
};

GZ_REGISTER_WORLD_PLUGIN(FreeRun)
