#include "device_model.h"

#include <utility>

#include "apr/core/error.h"

namespace apr::engine::cuda {
namespace {

DeviceInfo require_device(Driver& driver) {
  std::string reason;
  const std::optional<DeviceInfo> device = find_device(driver, 0, reason);
  if (!device) throw Error(ErrorCode::Unsupported, "CUDA cannot be used: " + reason).in("--device");
  return *device;
}

/// As resolved(), but memory is the device's.
ExecutorOptions resolved_for_device(const model::Plan& plan, ExecutorOptions options) {
  const std::uint64_t limit = options.memory_limit_bytes;
  options = resolved(plan, options);
  if (options.n_sequences != 1) throw Error(ErrorCode::Unsupported, "CUDA runs one sequence").in("n_sequences");
  if (options.kv_type != TensorType::F16)
    throw Error(ErrorCode::Unsupported, "CUDA keeps keys and values in f16")
        .in("--kv-type")
        .got(std::string(name(options.kv_type)));
  options.memory_limit_bytes = limit;
  return options;
}

}  // namespace

DeviceModel::DeviceModel(const model::Plan& plan, const ExecutorOptions& options, std::shared_ptr<Driver> driver,
                         const CudaOptions& cuda)
    : plan_(plan),
      options_(resolved_for_device(plan, options)),
      cuda_(cuda),
      driver_(std::move(driver)),
      info_(require_device(*driver_)),
      ops_(fuse(plan)),
      context_(retain_context(*driver_, info_.ordinal, context_handle_)),
      kernels_(std::make_unique<KernelSet>(*driver_, info_)),
      weights_(std::make_unique<DeviceWeights>(plan_, ops_)),
      buffers_(std::make_unique<DeviceBuffers>(plan_, options_, kernels_->shape(), weights_->slot_bytes())),
      list_(std::make_unique<LaunchList>(plan_, ops_, *weights_, *buffers_, pool_, kernels_->shape(), options_)),
      stream_(create_stream(*driver_)) {
  kernels_->set_early(cuda_.early);
  weights_->plan(pool_);
  buffers_->plan(pool_);
  pool_.take(*driver_, info_, options_.n_ctx, options_.memory_limit_bytes);
  if (cuda_.listener == nullptr) {
    load();
    return;
  }
  regions_ = named_regions();
  cuda_.listener->taken(regions_);
  try {
    load();
  } catch (...) {
    cuda_.listener->given_back(regions_);
    throw;
  }
  cuda_.listener->loaded(regions_);
}

DeviceModel::~DeviceModel() {
  // What is in flight reads this memory; a failure has been reported, or nobody waits for the result.
  static_cast<void>(driver_->stream_synchronize(stream_.get()));
  if (cuda_.listener != nullptr) cuda_.listener->given_back(regions_);
}

void DeviceModel::load() {
  StagingRing ring(*driver_, stream_.get(), buffers_->at(pool_, DeviceBuffers::Staging), weights_->slot_bytes());
  buffers_->load(*driver_, pool_, ring, stream_.get());
  weights_->load(pool_, *kernels_, ring, stream_.get());
  synchronize();
}

std::vector<DeviceRegion> DeviceModel::named_regions() const {
  std::vector<DeviceRegion> out;
  for (std::size_t i = 0; i < plan_.weights.size(); ++i) {
    const auto region = weights_->region(i);
    if (region) out.push_back({plan_.weights[i].name, pool_.address(*region), pool_.n_bytes(*region), true});
  }
  for (const auto& [name, region] : buffers_->named_regions())
    out.push_back({name, pool_.address(region), pool_.n_bytes(region), name.starts_with("rope.")});
  return out;
}

void DeviceModel::copy_in(DeviceBuffers::Region to, const void* from, std::size_t n_bytes) {
  APR_CUDA(*driver_, copy_to_device(buffers_->at(pool_, to), from, n_bytes, stream_.get()));
}
void DeviceModel::copy_out(void* to, DeviceBuffers::Region from, std::size_t n_bytes) {
  APR_CUDA(*driver_, copy_to_host(to, buffers_->at(pool_, from), n_bytes, stream_.get()));
}

}  // namespace apr::engine::cuda
