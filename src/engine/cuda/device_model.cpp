#include "device_model.h"

#include <fmt/format.h>

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
  pool_.take(*driver_, info_, options_.n_ctx, options_.memory_limit_bytes,
             [this](std::uint64_t n_bytes) { return advice(n_bytes); });
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

std::string DeviceModel::advice(std::uint64_t n_bytes) const {
  const auto needed = [this](std::uint32_t n_ctx, TensorType kv_type) {
    ExecutorOptions options = options_;
    options.n_ctx = n_ctx;
    options.kv_type = kv_type;
    MemoryPool pool;
    pool.plan(MemoryUse::Weights, pool_.memory().weights_bytes);
    DeviceBuffers(plan_, resolved(plan_, options), kernels_->shape(), weights_->slot_bytes()).plan(pool);
    return pool.planned_bytes();
  };
  std::string text;
  for (const TensorType type : {TensorType::F16, TensorType::Q8_0}) {
    if (options_.kv_type == TensorType::Q8_0 && type != options_.kv_type) continue;
    std::uint32_t fits = 0, fails = options_.n_ctx + 1;  // of n_ctx; what is needed rises with it
    while (fails - fits > 1) {
      const std::uint32_t middle = fits + (fails - fits) / 2;
      (needed(middle, type) <= n_bytes ? fits : fails) = middle;
    }
    const std::string name = type == TensorType::F16 ? "f16" : "q8_0";
    text += fits > 0 ? fmt::format("--kv-type {} --ctx {} would fit; ", name, fits)
                     : fmt::format("no context would fit with --kv-type {} (one position needs {} bytes); ", name,
                                   needed(1, type));
  }
  return text;
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

void DeviceModel::copy_in(DeviceBuffers::Region to, const void* from, std::size_t n_bytes, std::size_t offset) {
  APR_CUDA(*driver_, copy_to_device(buffers_->at(pool_, to) + offset, from, n_bytes, stream_.get()));
}
void DeviceModel::copy_out(void* to, DeviceBuffers::Region from, std::size_t n_bytes) {
  APR_CUDA(*driver_, copy_to_host(to, buffers_->at(pool_, from), n_bytes, stream_.get()));
}

}  // namespace apr::engine::cuda
