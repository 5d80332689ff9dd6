// A pretend accelerator: PyTorch's PrivateUse1 device with host memory, to find device faults without a GPU.
//
// Every operator runs its CPU kernel on CPU tensors that share the memory of the device tensors. As on a GPU, an
// operator refuses a mix of device and CPU tensors (except CPU scalars and CPU indices), and numpy() refuses device
// tensors. Operators that would make the host wait for a GPU are counted by name.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

namespace {

using at::Tensor;
using c10::IValue;
constexpr auto kKey = c10::DispatchKey::PrivateUse1;
const c10::Device kDevice(c10::DeviceType::PrivateUse1, 0);

bool on_device(const Tensor& tensor) { return tensor.defined() && tensor.device().type() == kDevice.type(); }

// Counts of the operators that make the host wait for the device.

std::mutex counts_mutex;
std::map<std::string, int64_t> counts;

void count(const std::string& name) {
  std::lock_guard<std::mutex> lock(counts_mutex);
  counts[name]++;
}

std::string read_counts() {
  std::lock_guard<std::mutex> lock(counts_mutex);
  std::string lines;
  for (const auto& [name, number] : counts) lines += name + " " + std::to_string(number) + "\n";
  counts.clear();
  return lines;
}

// The size of their result depends on values, so the host has to wait for them.
const std::set<std::string> kDataDependent = {
    "aten::nonzero", "aten::masked_select", "aten::_unique", "aten::_unique2", "aten::unique_dim",
    "aten::unique_consecutive", "aten::unique_dim_consecutive", "aten::repeat_interleave", "aten::bincount"};

// Their indices may be CPU tensors on a GPU too.
const std::set<std::string> kCpuIndices = {"aten::index", "aten::index_put", "aten::index_put_",
                                           "aten::_index_put_impl_", "aten::_unsafe_index"};

// Memory: storages of the device and of the CPU share their bytes; each keeps the other's memory alive.

c10::Storage shared(const c10::Storage& storage, c10::Device device) {
  auto* owner = new c10::Storage(storage);
  c10::DataPtr data(storage.mutable_data(), owner, [](void* held) { delete static_cast<c10::Storage*>(held); }, device);
  return c10::Storage(c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(data),
                      c10::GetAllocator(device.type()), true);
}

struct Allocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    auto* held = new c10::DataPtr(c10::GetAllocator(c10::DeviceType::CPU)->allocate(bytes));
    return {held->get(), held, &release, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
  static void release(void* held) { delete static_cast<c10::DataPtr*>(held); }
};
Allocator allocator;
REGISTER_ALLOCATOR(c10::DeviceType::PrivateUse1, &allocator);

void copy_view(const Tensor& from, const Tensor& to) {
  to.unsafeGetTensorImpl()->set_sizes_and_strides(from.sizes(), from.strides(), from.storage_offset());
}

Tensor tensor_like(const Tensor& tensor, const c10::Storage& storage, c10::DispatchKey key) {
  auto made = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(storage), c10::DispatchKeySet(key), tensor.dtype());
  copy_view(tensor, made);
  return made;
}

// Generators: one of the device draws what a CPU generator with the same state draws.

struct Generator final : c10::GeneratorImpl {
  explicit Generator(at::Generator cpu = at::detail::createCPUGenerator())
      : GeneratorImpl(kDevice, c10::DispatchKeySet(kKey)), cpu(std::move(cpu)) {}
  void set_current_seed(uint64_t seed) override { cpu.set_current_seed(seed); }
  void set_offset(uint64_t offset) override { cpu.set_offset(offset); }
  uint64_t get_offset() const override { return cpu.get_offset(); }
  uint64_t current_seed() const override { return cpu.current_seed(); }
  uint64_t seed() override { return cpu.seed(); }
  void set_state(const c10::TensorImpl& state) override { cpu.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return cpu.unsafeGetGeneratorImpl()->get_state(); }
  Generator* clone_impl() const override { return new Generator(cpu.clone()); }
  at::Generator cpu;
};

const at::Generator& default_generator() {
  static const at::Generator generator = at::make_generator<Generator>();
  return generator;
}

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override { return default_generator(); }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return at::make_generator<Generator>(); }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    auto data = allocator.allocate(bytes);
    allocator.copy_data(data.get_context() ? data.get() : nullptr, storage.data(), std::min(bytes, storage.nbytes()));
    storage.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(data));
    storage.unsafeGetStorageImpl()->set_nbytes(bytes);
  }
};

struct Guard final : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::PrivateUse1> {
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  c10::Stream getDefaultStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  void synchronizeDevice(const c10::DeviceIndex) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

// One call of an operator: its device arguments become CPU tensors, and its results become device tensors.

class Call {
 public:
  explicit Call(const c10::FunctionSchema& schema) : schema_(schema), name_(schema.name()) {}

  IValue argument(size_t place, const IValue& value) {
    const auto* alias = schema_.arguments()[place].alias_info();
    if (value.isTensor()) return cpu(value.toTensor(), alias && alias->isWrite(), true);
    if (value.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& tensor : value.toTensorVector()) list.push_back(cpu(tensor, alias && alias->isWrite(), false));
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      const bool indices = kCpuIndices.count(name_);
      for (std::optional<Tensor> tensor : value.toOptionalTensorList())
        list.push_back(!tensor ? tensor : std::make_optional(cpu(*tensor, false, indices, indices)));
      return list;
    }
    if (value.isStorage()) return value.toStorage().device_type() == kDevice.type() ? cpu(value.toStorage()) : value;
    if (value.isDevice()) return IValue(c10::Device(c10::DeviceType::CPU));
    if (value.isGenerator()) return cpu(value.toGenerator());
    if (value.isNone() && is_generator(schema_.arguments()[place])) return cpu(default_generator());
    return value;
  }

  // Call when all arguments are known: whether a CPU tensor is a fault depends on there being a device tensor.
  void check() const {
    TORCH_CHECK(!foreign_ || tensors_.empty(),
                "Expected all tensors to be on the same device, but found at least two devices, ", kDevice,
                " and cpu! (", name_, ")");
  }

  // Resizing, set_ and out= change sizes and storages of arguments.
  void write_back() {
    for (auto& [device, host] : storages_) {
      if (host.data() == device.data() && host.nbytes() == device.nbytes()) continue;
      auto* owner = new c10::Storage(host);
      device.unsafeGetStorageImpl()->set_data_ptr_noswap(
          {host.mutable_data(), owner, [](void* held) { delete static_cast<c10::Storage*>(held); }, kDevice});
      device.unsafeGetStorageImpl()->set_nbytes(host.nbytes());
    }
    for (auto& [device, host, written] : tensors_) {
      if (!written) continue;
      const auto storage = device_storage(host.storage());
      if (!storage.is_alias_of(device.storage())) device.unsafeGetTensorImpl()->set_storage_keep_dtype(storage);
      copy_view(host, device);
    }
  }

  IValue result(const IValue& value) {
    if (value.isTensor()) return device(value.toTensor());
    if (value.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& tensor : value.toTensorVector()) list.push_back(device(tensor));
      return list;
    }
    if (!value.isNone() && !tensors_.empty()) count(name_);  // a number on the host
    return value;
  }

 private:
  struct Pair {
    Tensor device, host;
    bool written;
  };

  Tensor cpu(const Tensor& tensor, bool written, bool scalar_allowed, bool index = false) {
    if (!tensor.defined()) return tensor;
    if (!on_device(tensor)) {
      foreign_ |= tensor.device().is_cpu() && !index && (written || !scalar_allowed || tensor.dim() > 0);
      return tensor;
    }
    for (auto& pair : tensors_)
      if (pair.device.is_same(tensor)) return pair.written |= written, pair.host;
    tensors_.push_back({tensor, tensor_like(tensor, cpu(tensor.storage()), c10::DispatchKey::CPU), written});
    return tensors_.back().host;
  }

  static bool is_generator(const c10::Argument& argument) {
    const auto type = argument.type()->cast<c10::OptionalType>();
    return type && type->getElementType()->kind() == c10::TypeKind::GeneratorType;
  }

  c10::Storage cpu(const c10::Storage& storage) {
    for (const auto& [device, host] : storages_)
      if (device.unsafeGetStorageImpl() == storage.unsafeGetStorageImpl()) return host;
    storages_.emplace_back(storage, shared(storage, c10::DeviceType::CPU));
    return storages_.back().second;
  }

  static IValue cpu(const at::Generator& generator) {
    TORCH_CHECK(generator.device().type() == kDevice.type(), "Expected a '", kDevice.type(),
                "' device type for generator but found '", generator.device().type(), "'");
    return static_cast<Generator*>(generator.unsafeGetGeneratorImpl())->cpu;
  }

  c10::Storage device_storage(const c10::Storage& storage) {
    for (const auto& [device, host] : storages_)
      if (host.unsafeGetStorageImpl() == storage.unsafeGetStorageImpl()) return device;
    storages_.emplace_back(shared(storage, kDevice), storage);
    return storages_.back().first;
  }

  Tensor device(const Tensor& tensor) {
    if (!tensor.defined() || on_device(tensor)) return tensor;
    for (const auto& pair : tensors_)
      if (pair.host.is_same(tensor)) return pair.device;
    return tensor_like(tensor, device_storage(tensor.storage()), kKey);
  }

  const c10::FunctionSchema& schema_;
  const std::string& name_;
  std::vector<Pair> tensors_;
  std::vector<std::pair<c10::Storage, c10::Storage>> storages_;  // of the device, of the CPU
  bool foreign_ = false;
};

void run_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  if (kDataDependent.count(schema.name())) count(schema.name());
  const size_t begin = stack->size() - schema.arguments().size();
  Call call(schema);
  for (size_t place = 0; place < schema.arguments().size(); place++)
    (*stack)[begin + place] = call.argument(place, (*stack)[begin + place]);
  call.check();
  {
    at::AutoDispatchBelowADInplaceOrView below;
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  }
  call.write_back();
  for (size_t place = stack->size() - schema.returns().size(); place < stack->size(); place++)
    (*stack)[place] = call.result((*stack)[place]);
}

// Operators that PyTorch would decompose into others, whose CPU form has another name, or that have none.

void convolution(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  run_on_cpu(c10::Dispatcher::singleton().findSchemaOrThrow("aten::convolution", ""), stack);
}

void convolution_backward(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const size_t begin = stack->size() - op.schema().arguments().size();
  std::vector<int64_t> bias = {(*stack)[begin].toTensor().size(1)};
  stack->insert(stack->begin() + begin + 3, IValue(bias));
  run_on_cpu(c10::Dispatcher::singleton().findSchemaOrThrow("aten::convolution_backward", ""), stack);
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool non_blocking) {
  if (!on_device(from) && !non_blocking) count("copy to device");
  if (!on_device(to)) count("copy to host");
  at::AutoDispatchBelowADInplaceOrView below;
  const auto host = [](const Tensor& tensor) {
    if (!on_device(tensor)) return tensor;
    return tensor_like(tensor, shared(tensor.storage(), c10::DeviceType::CPU), c10::DispatchKey::CPU);
  };
  host(to).copy_(host(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  return copy_from(from, to.resize_(from.sizes()), false);
}

Tensor plus(const Tensor& gates, const std::optional<Tensor>& bias) { return bias ? gates.add(*bias) : gates; }

std::tuple<Tensor, Tensor> gru_cell(const Tensor& inputs, const Tensor& hiddens, const Tensor& state,
                                    const std::optional<Tensor>& input_bias, const std::optional<Tensor>& hidden_bias) {
  const auto in = plus(inputs, input_bias).chunk(3, 1), hidden = plus(hiddens, hidden_bias).chunk(3, 1);
  const auto reset = in[0].add(hidden[0]).sigmoid(), update = in[1].add(hidden[1]).sigmoid();
  const auto candidate = in[2].add(hidden[2].mul(reset)).tanh();
  return {state.sub(candidate).mul(update).add(candidate), state.new_empty({0})};
}

std::tuple<Tensor, Tensor, Tensor> lstm_cell(const Tensor& inputs, const Tensor& hiddens, const Tensor& cell,
                                             const std::optional<Tensor>& input_bias,
                                             const std::optional<Tensor>& hidden_bias) {
  const auto gates = plus(inputs, input_bias).add(plus(hiddens, hidden_bias)).chunk(4, 1);
  const auto next = gates[1].sigmoid().mul(cell).add(gates[0].sigmoid().mul(gates[2].tanh()));
  return {gates[3].sigmoid().mul(next.tanh()), next, cell.new_empty({0})};
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_cpu>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  for (const char* name : {"native_layer_norm", "native_group_norm"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&run_on_cpu>());
  m.impl("convolution_overrideable", torch::CppFunction::makeFromBoxedFunction<&convolution>());
  m.impl("convolution_backward_overrideable", torch::CppFunction::makeFromBoxedFunction<&convolution_backward>());
  m.impl("_thnn_fused_gru_cell", gru_cell);
  m.impl("_thnn_fused_lstm_cell", lstm_cell);
}

// The cells are made of differentiable operators.
TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, m) {
  m.impl("_thnn_fused_gru_cell", gru_cell);
  m.impl("_thnn_fused_lstm_cell", lstm_cell);
}

TORCH_LIBRARY(pretend, m) {
  m.def("counts() -> str", read_counts);
  m.def("manual_seed(int seed) -> ()", [](int64_t seed) { at::Generator(default_generator()).set_current_seed(seed); });
  m.def("state() -> Tensor", [] { return default_generator().get_state(); });
  m.def("set_state(Tensor state) -> ()",
        [](const Tensor& state) { at::Generator(default_generator()).set_state(state); });
}

const bool registered = [] {
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  return true;
}();

}  // namespace
