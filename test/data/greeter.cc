// Copyright 2026 the tl_adapt authors
// SPDX-License-Identifier: Apache-2.0
// A world plugin that says which models the running world has, and ends the server.
#include <cstdio>
#include <cstdlib>
#include <gazebo/common/Events.hh>
#include <gazebo/common/Plugin.hh>
#include <gazebo/physics/physics.hh>

class Greeter : public gazebo::WorldPlugin
{
public:
  void Load(gazebo::physics::WorldPtr world, sdf::ElementPtr) override
  {
    connection_ = gazebo::event::Events::ConnectWorldUpdateEnd([world] {
      if (world->Iterations() < 10)
        return;
      for (const auto & model : world->Models())
        std::printf("model %s\n", model->GetName().c_str());
      std::fflush(stdout);
      std::_Exit(0);
    });
  }

private:
  gazebo::event::ConnectionPtr connection_;
};

GZ_REGISTER_WORLD_PLUGIN(Greeter)
