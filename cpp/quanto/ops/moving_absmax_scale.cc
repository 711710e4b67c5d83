// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>

#include "quanto/core/error.h"
#include "quanto/core/qtype.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/layout.h"
#include "quanto/ops/torch_executor.h"
#include "quanto/scale/rounding.h"

namespace quanto::ops {
namespace {

constexpr const char* kOp = "moving_absmax_scale";

struct Types {
  DType scale;
  DType base;
  const QType& qtype;
};

Types check_types(const Tensor& scale, const Tensor& base,
                  const std::string& qtype, double momentum) {
  const QType* type = find_qtype(qtype);
  check_value(type != nullptr, "{}: expected the name of a qtype, got '{}'",
              kOp, qtype);
  check_value(momentum >= 0 && momentum <= 1,
              "{}: expected a momentum in [0, 1], got {}", kOp, momentum);
  const DType scale_dtype = check_float(kOp, "scale", scale);
  return {scale_dtype, check_float(kOp, "base", base), *type};
}

/// absmax_scale per tensor, in base's dtype.
float largest_scale(const Tensor& base, const Types& types) {
  const Tensor values = contiguous(base);
  float largest = 0;
  TorchExecutor executor;
  kernels::kernels().absmax(values.const_data_ptr(), types.base,
                            {1, 1, values.numel()}, &largest, executor);
  check_value(std::isfinite(largest), "{}: expected finite values, got {}", kOp,
              largest);
  return scale::rounded(types.base, largest / types.qtype.qmax);
}

/// The mean is rounded after each operation, as torch's on tensors of that
/// dtype.
float moved(DType dtype, float scale, float next, double momentum) {
  next = scale::rounded(dtype, next);
  if (scale == 1) return next;
  const float kept =
      scale::rounded(dtype, static_cast<float>(momentum) * scale);
  const float added =
      scale::rounded(dtype, static_cast<float>(1 - momentum) * next);
  return kept + added;
}

Tensor moving_absmax_scale_cpu(const Tensor& scale, const Tensor& base,
                               const std::string& qtype, double momentum) {
  check_cpu(kOp, {&scale, &base});
  const Types types = check_types(scale, base, qtype, momentum);
  check_shape(kOp, "scale", scale, {});
  float value = scale::load(scale.const_data_ptr(), types.scale, 0);
  if (base.numel() > 0) {
    value = moved(types.scale, value, largest_scale(base, types), momentum);
  }
  Tensor out = empty({}, types.scale);
  scale::store(out.mutable_data_ptr(), types.scale, 0, value);
  return out;
}

Tensor moving_absmax_scale_meta(const Tensor& scale, const Tensor& base,
                                const std::string& qtype, double momentum) {
  check_meta(kOp, {&scale, &base});
  return aten::like(scale, check_types(scale, base, qtype, momentum).scale);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(quanto, CPU, m) {
  m.impl("moving_absmax_scale", TORCH_BOX(&moving_absmax_scale_cpu));
}
STABLE_TORCH_LIBRARY_IMPL(quanto, Meta, m) {
  m.impl("moving_absmax_scale", TORCH_BOX(&moving_absmax_scale_meta));
}

}  // namespace quanto::ops
