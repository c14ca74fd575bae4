// Copyright 2026 the tl_adapt authors
// SPDX-License-Identifier: Apache-2.0
//
// World plugin for Gazebo 11: steps the world only when it is told to, over a socket that it has
// inherited. wire.py describes the messages; both ends refuse another version of them.
//
// Everything happens on the physics thread, which waits for requests at the end of an update. So a
// request always meets a world that stands still, and no lock is needed.

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <gazebo/common/Events.hh>
#include <gazebo/common/Plugin.hh>
#include <gazebo/gazebo_config.h>
#include <gazebo/physics/ode/ODEJoint.hh>
#include <gazebo/physics/physics.hh>
#include <gazebo/physics/MultiRayShape.hh>
#include <gazebo/sensors/RaySensor.hh>
#include <gazebo/sensors/SensorManager.hh>

namespace tl_adapt
{
constexpr uint32_t kMagic = 0x5A474C54;  // the bytes TLGZ
constexpr uint16_t kVersion = 1;
constexpr uint32_t kLargest = 16u << 20;  // bytes of a payload
constexpr uint32_t kMostSteps = 400000;  // their rows fit into a payload
constexpr unsigned kPatience = 5000;  // turns of the world's loop, about 1 ms each

enum Type : uint16_t {
  HELLO = 1, STEP = 2, RESET = 3, PHYSICS = 4, SPAWN = 5, DELETE = 6, LIST = 7, GET = 8, SET = 9,
  PING = 10, STATE = 20, DONE = 21, NAMES = 22, ENTITY = 23, ERROR = 99
};

#pragma pack(push, 1)
struct Header { uint32_t magic; uint16_t version; uint16_t type; uint32_t length; };
struct Order { uint32_t step; double left, right; };
struct ResetRequest { uint64_t seed; double x, y, z, yaw; uint32_t settle; };
struct PhysicsRequest { double payload, inertia, friction, lag, torque, deadband, slope; };
struct Row { double left_torque, right_torque, left_speed, right_speed, touching; };
#pragma pack(pop)

using Pose = ignition::math::Pose3d;
using Vector = ignition::math::Vector3d;

class Lockstep : public gazebo::WorldPlugin
{
public:
  void Load(gazebo::physics::WorldPtr world, sdf::ElementPtr) override
  {
    const char * number = std::getenv("TL_ADAPT_GAZEBO_SOCKET");
    if (!number) {
      gzerr << "tl_adapt: TL_ADAPT_GAZEBO_SOCKET is not set, the world runs freely\n";
      return;
    }
    socket_ = std::atoi(number);
    world_ = world;
    // Nothing may move before the first request, or no two runs would begin alike.
    world_->SetPhysicsEnabled(false);
    begin_ = gazebo::event::Events::ConnectWorldUpdateBegin(
      [this](const gazebo::common::UpdateInfo &) {this->Begin();});
    end_ = gazebo::event::Events::ConnectWorldUpdateEnd([this] {this->End();});
  }

private:
  // --- the two hooks into the world's loop -------------------------------------------------

  void Begin()
  {
    if (!ready_ || left_ == 0) {
      return;
    }
    while (next_order_ < orders_.size() && orders_[next_order_].step <= done_) {
      wanted_[0] = orders_[next_order_].left;
      wanted_[1] = orders_[next_order_].right;
      ++next_order_;
    }
    const double share = 1.0 - std::exp(-world_->Physics()->GetMaxStepSize() / lag_);
    for (int i = 0; i < 2; ++i) {
      filtered_[i] += share * (wanted_[i] - filtered_[i]);
      // Not a torque but a speed with a limited torque: the solver treats it implicitly, so that
      // small wheels stay stable. By number, as looking a parameter up by name takes its time.
      const double size = std::max(std::abs(filtered_[i]) - deadband_, 0.0) * slope_;
      motors_[i]->SetParam(dParamFMax, torque_);
      motors_[i]->SetParam(dParamVel, std::copysign(size, filtered_[i]));
    }
  }

  void End()
  {
    if (!ready_ && !this->Prepare()) {
      return;
    }
    if (!awaited_.empty()) {
      if (!this->Arrived()) {
        return;
      }
    } else if (left_ > 0) {
      this->Log();
      ++done_;
      if (--left_ > 0) {
        return;
      }
      if (settling_) {
        this->Settled();
      }
      this->SendState();
    }
    while (this->Serve()) {
    }
  }

  // Find the robot's parts; they are there only some turns after the world has been loaded.
  bool Prepare()
  {
    model_ = world_->ModelByName("robot");
    if (model_) {
      base_ = model_->GetLink("base");
      payload_ = model_->GetLink("payload");
      wheels_[0] = model_->GetJoint("left");
      wheels_[1] = model_->GetJoint("right");
      lidar_ = std::dynamic_pointer_cast<gazebo::sensors::RaySensor>(
        gazebo::sensors::SensorManager::Instance()->GetSensor(
          world_->Name() + "::robot::base::lidar"));
    }
    for (int i = 0; i < 2; ++i) {
      motors_[i] = dynamic_cast<gazebo::physics::ODEJoint *>(wheels_[i].get());
    }
    if (!model_ || !base_ || !payload_ || !motors_[0] || !motors_[1] || !lidar_) {
      if (++turns_ > kPatience) {
        this->Die("the world has no robot with base, payload, left, right and lidar");
      }
      usleep(1000);
      return false;
    }
    for (auto & wheel : wheels_) {
      wheel->SetProvideFeedback(true);
    }
    // Else contacts that nobody subscribed to would be thrown away. A filter for the hull's alone
    // would cost more than it saves: it compares names for each contact.
    world_->Physics()->GetContactManager()->SetNeverDropContacts(true);
    world_->SetPhysicsEnabled(true);
    hull_ = base_->GetCollision("hull").get();
    ready_ = true;
    std::string out;
    Put(out, static_cast<uint32_t>(getpid()));
    Put(out, world_->Physics()->GetMaxStepSize());
    Put(out, static_cast<uint32_t>(lidar_->RangeCount()));
    out += GAZEBO_VERSION_FULL;
    this->Send(HELLO, out);
    return true;
  }

  void Log()
  {
    double torque[2], speed[2];
    for (int i = 0; i < 2; ++i) {
      // The joint leaves only its axis free, so what it exerts about that is the motor's. Straight
      // from ODE: Gazebo's own wrench is turned to and fro between frames first.
      const auto axis = wheels_[i]->GlobalAxis(0);
      const dJointFeedback * feedback = motors_[i]->GetFeedback();
      const dReal * t = feedback->t1;
      torque[i] = t[0] * axis.X() + t[1] * axis.Y() + t[2] * axis.Z();
      speed[i] = wheels_[i]->GetVelocity(0);
    }
    rows_.push_back({torque[0], torque[1], speed[0], speed[1], this->Touching() ? 1.0 : 0.0});
  }

  bool Touching() const
  {
    const auto * manager = world_->Physics()->GetContactManager();
    const auto & contacts = manager->GetContacts();
    for (unsigned int i = 0; i < manager->GetContactCount(); ++i) {
      const bool hull = contacts[i]->collision1 == hull_ || contacts[i]->collision2 == hull_;
      if (hull && contacts[i]->count > 0) {
        return true;
      }
    }
    return false;
  }

  // --- requests ----------------------------------------------------------------------------

  // Serve one request; false lets the world go on.
  bool Serve()
  {
    Header header;
    this->Receive(&header, sizeof header);
    if (header.magic != kMagic || header.version != kVersion || header.length > kLargest) {
      this->Die("the other end speaks another protocol");
    }
    in_.resize(header.length);
    this->Receive(&in_[0], header.length);
    at_ = 0;
    bad_ = false;
    switch (header.type) {
      case STEP: return this->OnStep();
      case RESET: return this->OnReset();
      case PHYSICS: return this->OnPhysics();
      case SPAWN: return this->OnSpawn();
      case DELETE: return this->OnDelete();
      case LIST: return this->OnList();
      case GET: return this->OnGet();
      case SET: return this->OnSet();
      case PING: this->Send(DONE, ""); return true;
      default: return this->Refuse("protocol: unknown request");
    }
  }

  bool OnStep()
  {
    const auto steps = Take<uint32_t>();
    const auto count = Take<uint32_t>();
    if (bad_ || steps < 1 || steps > kMostSteps || count > kLargest / sizeof(Order)) {
      return this->Refuse("protocol: bad number of steps or commands");
    }
    orders_.clear();
    for (uint32_t i = 0; i < count; ++i) {
      orders_.push_back(Take<Order>());
    }
    for (const auto & order : orders_) {
      bad_ = bad_ || !std::isfinite(order.left) || !std::isfinite(order.right);
    }
    if (bad_ || at_ != in_.size()) {
      return this->Refuse("protocol: bad commands");
    }
    this->Start(steps);
    return false;
  }

  void Start(uint32_t steps)
  {
    rows_.clear();
    next_order_ = 0;
    done_ = 0;
    left_ = steps;
  }

  bool OnReset()
  {
    const auto r = Take<ResetRequest>();
    const bool finite = std::isfinite(r.x) && std::isfinite(r.y) && std::isfinite(r.z) &&
      std::isfinite(r.yaw);
    if (bad_ || at_ != in_.size() || !finite || r.settle < 1 || r.settle > kMostSteps) {
      return this->Refuse("protocol: bad reset");
    }
    world_->Physics()->SetSeed(static_cast<uint32_t>(r.seed));
    model_->Reset();
    start_ = Pose(r.x, r.y, r.z, 0, 0, r.yaw);
    model_->SetWorldPose(start_);
    this->Rest();
    orders_.clear();
    settling_ = true;
    this->Start(r.settle);
    return false;
  }

  void Rest()
  {
    model_->ResetPhysicsStates();
    for (int i = 0; i < 2; ++i) {
      wheels_[i]->SetVelocity(0, 0.0);
      wanted_[i] = filtered_[i] = 0.0;
    }
  }

  // Settling rocks the robot a little: only its height and tilt are kept from that.
  void Settled()
  {
    settling_ = false;
    auto pose = model_->WorldPose();
    pose.Pos().X() = start_.Pos().X();
    pose.Pos().Y() = start_.Pos().Y();
    model_->SetWorldPose(pose);
    this->Rest();
    rows_.clear();
  }

  bool OnPhysics()
  {
    const auto p = Take<PhysicsRequest>();
    for (const double value : {p.payload, p.inertia, p.friction, p.lag, p.torque, p.slope}) {
      bad_ = bad_ || !std::isfinite(value) || value <= 0;
    }
    if (bad_ || !std::isfinite(p.deadband) || p.deadband < 0 || at_ != in_.size()) {
      return this->Refuse("protocol: bad physics");
    }
    lag_ = p.lag;
    torque_ = p.torque;
    deadband_ = p.deadband;
    slope_ = p.slope;
    auto inertial = payload_->GetInertial();
    inertial->SetMass(p.payload);
    inertial->SetInertiaMatrix(p.inertia, p.inertia, p.inertia, 0, 0, 0);
    payload_->UpdateMass();
    // The floor is rough: of two touching surfaces ODE takes the smaller coefficient.
    for (const char * side : {"left", "right"}) {
      const auto wheel = model_->GetLink(std::string(side) + "_wheel");
      for (const auto & collision : wheel->GetCollisions()) {
        const auto friction = collision->GetSurface()->FrictionPyramid();
        friction->SetMuPrimary(p.friction);
        friction->SetMuSecondary(p.friction);
      }
    }
    this->Send(DONE, "");
    return true;
  }

  // A model is inserted by the world's own loop, some turns later. Physics and time stand still
  // until then.
  bool OnSpawn()
  {
    awaited_state_ = this->TakeState();
    const auto name = this->TakeText();
    const auto text = this->TakeText();
    if (bad_ || at_ != in_.size() || name.empty()) {
      return this->Refuse("protocol: bad entity");
    }
    if (world_->ModelByName(name)) {
      return this->Refuse("exists: there is an entity of that name");
    }
    sdf::SDF parsed;
    parsed.SetFromString(text);
    const auto root = parsed.Root();
    if (!root || !root->HasElement("model")) {
      return this->Refuse("parse: is no SDF with a model");
    }
    const auto model = root->GetElement("model");
    model->GetAttribute("name")->SetFromString(name);
    world_->InsertModelSDF(parsed);
    this->Await(name, true);
    return false;
  }

  bool OnDelete()
  {
    const auto name = this->TakeText();
    if (bad_ || at_ != in_.size()) {
      return this->Refuse("protocol: bad name");
    }
    if (!world_->ModelByName(name)) {
      return this->Refuse("unknown: there is no such entity");
    }
    if (name == "robot" || name == "ground_plane") {
      return this->Refuse("unsupported: the robot and the ground stay");
    }
    world_->RemoveModel(name);
    this->Await(name, false);
    return false;
  }

  void Await(const std::string & name, bool there)
  {
    awaited_ = name;
    awaited_there_ = there;
    frozen_time_ = world_->SimTime();
    turns_ = 0;
    world_->SetPhysicsEnabled(false);
  }

  // Look whether the awaited model has come (or gone); true when requests are to be served again.
  bool Arrived()
  {
    const auto model = world_->ModelByName(awaited_);
    const bool done = (model != nullptr) == awaited_there_;
    world_->SetSimTime(frozen_time_);
    if (!done && ++turns_ < kPatience) {
      usleep(1000);
      return false;
    }
    awaited_.clear();
    world_->SetPhysicsEnabled(true);
    if (!done) {
      this->Refuse("refused: Gazebo did not do it");
    } else {
      if (model) {
        this->PutState(model, awaited_state_);
      }
      this->Send(DONE, "");
    }
    return true;
  }

  bool OnList()
  {
    std::string out;
    for (const auto & model : world_->Models()) {
      out += model->GetName() + "\n";
    }
    this->Send(NAMES, out);
    return true;
  }

  bool OnGet()
  {
    const auto name = this->TakeText();
    const auto model = world_->ModelByName(name);
    if (bad_ || at_ != in_.size() || !model) {
      return this->Refuse("unknown: there is no such entity");
    }
    std::string out;
    PutPose(out, model->WorldPose());
    PutVector(out, model->WorldLinearVel());
    PutVector(out, model->WorldAngularVel());
    this->Send(ENTITY, out);
    return true;
  }

  bool OnSet()
  {
    const auto state = this->TakeState();
    const auto name = this->TakeText();
    const auto model = world_->ModelByName(name);
    if (bad_ || at_ != in_.size() || !model) {
      return this->Refuse("unknown: there is no such entity");
    }
    this->PutState(model, state);
    this->Send(DONE, "");
    return true;
  }

  struct State { Pose pose; Vector linear, angular; };

  void PutState(const gazebo::physics::ModelPtr & model, const State & state)
  {
    model->SetWorldPose(state.pose);
    if (model == model_) {
      model->ResetPhysicsStates();
      wanted_[0] = wanted_[1] = filtered_[0] = filtered_[1] = 0.0;
    }
    if (!model->IsStatic()) {
      model->SetLinearVel(state.linear);
      model->SetAngularVel(state.angular);
    }
  }

  // --- the wire ----------------------------------------------------------------------------

  void SendState()
  {
    std::string out;
    Put(out, static_cast<uint32_t>(rows_.size()));
    Put(out, static_cast<uint32_t>(lidar_->RangeCount()));
    PutPose(out, model_->WorldPose());
    PutVector(out, base_->WorldLinearVel(Vector::Zero));
    PutVector(out, base_->RelativeAngularVel());
    out.append(reinterpret_cast<const char *>(rows_.data()), rows_.size() * sizeof(Row));
    // The sensor would also make a message of it, for nobody.
    const auto shape = lidar_->LaserShape();
    shape->Update();
    std::vector<double> ranges(lidar_->RangeCount());
    const double longest = lidar_->RangeMax();
    for (size_t i = 0; i < ranges.size(); ++i) {
      const double range = shape->GetRange(static_cast<unsigned int>(i));
      ranges[i] = range < longest ? range : std::numeric_limits<double>::infinity();
    }
    out.append(reinterpret_cast<const char *>(ranges.data()), ranges.size() * sizeof(double));
    this->Send(STATE, out);
  }

  bool Refuse(const std::string & reason)
  {
    this->Send(ERROR, reason);
    return true;
  }

  [[noreturn]] void Die(const std::string & reason)
  {
    gzerr << "tl_adapt: " << reason << "\n";
    if (socket_ >= 0) {
      this->Send(ERROR, "fatal: " + reason, false);
    }
    // Not exit: the destructors would wait for this very thread.
    _exit(3);
  }

  template<typename T>
  T Take()
  {
    T value{};
    if (in_.size() - at_ < sizeof(T)) {
      bad_ = true;
      at_ = in_.size();
      return value;
    }
    std::memcpy(&value, &in_[at_], sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  std::string TakeText()
  {
    const auto length = Take<uint32_t>();
    if (bad_ || in_.size() - at_ < length) {
      bad_ = true;
      return "";
    }
    at_ += length;
    return std::string(&in_[at_ - length], length);
  }

  Vector TakeVector()
  {
    const double x = Take<double>(), y = Take<double>(), z = Take<double>();
    bad_ = bad_ || !std::isfinite(x) || !std::isfinite(y) || !std::isfinite(z);
    return Vector(x, y, z);
  }

  State TakeState()
  {
    State state;
    state.pose.Pos() = TakeVector();
    const auto xyz = TakeVector();
    const double w = Take<double>();
    bad_ = bad_ || !std::isfinite(w);
    state.pose.Rot() = ignition::math::Quaterniond(w, xyz.X(), xyz.Y(), xyz.Z());
    state.linear = TakeVector();
    state.angular = TakeVector();
    return state;
  }

  template<typename T>
  static void Put(std::string & out, const T & value)
  {
    out.append(reinterpret_cast<const char *>(&value), sizeof(T));
  }

  static void PutVector(std::string & out, const Vector & v)
  {
    Put(out, v.X());
    Put(out, v.Y());
    Put(out, v.Z());
  }

  static void PutPose(std::string & out, const Pose & pose)
  {
    PutVector(out, pose.Pos());
    Put(out, pose.Rot().X());
    Put(out, pose.Rot().Y());
    Put(out, pose.Rot().Z());
    Put(out, pose.Rot().W());
  }

  void Send(Type type, const std::string & payload, bool must = true)
  {
    const Header header{kMagic, kVersion, type, static_cast<uint32_t>(payload.size())};
    std::string all(reinterpret_cast<const char *>(&header), sizeof header);
    all += payload;
    const char * data = all.data();
    size_t left = all.size();
    while (left > 0) {
      const ssize_t sent = send(socket_, data, left, MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) {
        continue;
      }
      if (sent <= 0) {
        if (must) {
          _exit(0);  // the other end has gone, and with it the reason to be here
        }
        return;
      }
      data += sent;
      left -= static_cast<size_t>(sent);
    }
  }

  void Receive(void * to, size_t size)
  {
    char * data = static_cast<char *>(to);
    while (size > 0) {
      const ssize_t got = recv(socket_, data, size, 0);
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got <= 0) {
        _exit(0);
      }
      data += got;
      size -= static_cast<size_t>(got);
    }
  }

  gazebo::physics::WorldPtr world_;
  gazebo::physics::ModelPtr model_;
  gazebo::physics::LinkPtr base_, payload_;
  gazebo::physics::JointPtr wheels_[2];
  gazebo::physics::ODEJoint * motors_[2] = {nullptr, nullptr};  // the same joints
  const gazebo::physics::Collision * hull_ = nullptr;
  gazebo::sensors::RaySensorPtr lidar_;
  gazebo::event::ConnectionPtr begin_, end_;

  int socket_ = -1;
  bool ready_ = false;
  unsigned turns_ = 0;

  // Time constant [s] and torque limit [N m] of the motors; the friction in them lets a wheel turn
  // at (wanted speed - deadband [rad/s]) * slope.
  double lag_ = 0.04, torque_ = 0.1, deadband_ = 0.0, slope_ = 1.0;
  double wanted_[2] = {0, 0}, filtered_[2] = {0, 0};

  std::vector<Order> orders_;
  size_t next_order_ = 0;
  uint32_t left_ = 0, done_ = 0;
  std::vector<Row> rows_;
  bool settling_ = false;
  Pose start_;

  std::string awaited_;
  bool awaited_there_ = false;
  State awaited_state_;
  gazebo::common::Time frozen_time_;

  std::string in_;
  size_t at_ = 0;
  bool bad_ = false;
};

GZ_REGISTER_WORLD_PLUGIN(Lockstep)
}  // namespace tl_adapt
