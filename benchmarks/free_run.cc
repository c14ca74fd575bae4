// Copyright 2026 the tl_adapt authors
// SPDX-License-Identifier: Apache-2.0
//
// World plugin that lets Gazebo run as fast as it can and tells how fast that was: it prints the
// simulated seconds per wall second between the first and the last of FREE_RUN_STEPS, and ends.

#include <unistd.h>

#include <chrono>
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
    const char * text = std::getenv("FREE_RUN_STEPS");
    last_ = text ? std::atol(text) : 1000;
    step_ = world->Physics()->GetMaxStepSize();
    connection_ = gazebo::event::Events::ConnectWorldUpdateEnd([this] {this->End();});
  }

private:
  void End()
  {
    ++steps_;
    if (steps_ == kWarm) {
      begin_ = Clock::now();
    } else if (steps_ == kWarm + last_) {
      const std::chrono::duration<double> wall = Clock::now() - begin_;
      std::printf("\nfree_run %.6f\n", last_ * step_ / wall.count());
      std::fflush(stdout);
      _exit(0);
    }
  }

  static constexpr long kWarm = 500;
  long steps_ = 0, last_ = 0;
  double step_ = 0.0;
  Clock::time_point begin_;
  gazebo::event::ConnectionPtr connection_;
};

GZ_REGISTER_WORLD_PLUGIN(FreeRun)
