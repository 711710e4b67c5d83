// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <tuple>
#include <vector>

#include "quanto/core/error.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/layout.h"
#include "quanto/ops/torch_executor.h"
#include "quanto/scale/absmax.h"
#include "quanto/scale/hqq.h"
#include "quanto/scale/max.h"

namespace quanto::ops {
namespace {

using scale::HqqOptions;
using ScaleAndShift = std::tuple<Tensor, Tensor>;

constexpr const char* kAbsmax = "absmax_scale";
constexpr const char* kMax = "max_scale";
constexpr const char* kHqq = "hqq_scale";

const QType& check_qtype(const std::string& name) {
  const QType* type = find_qtype(name);
  check_value(type != nullptr, "{}: expected the name of a qtype, got '{}'",
              kAbsmax, name);
  return *type;
}

void check_axis(const char* op, std::optional<int64_t> axis) {
  check_value(!axis || *axis == 0 || *axis == -1,
              "{}: expected axis None, 0 (the first) or -1 (the last), got {}",
              op, axis.value_or(0));
}

Tensor absmax_scale_cpu(const Tensor& base, const std::string& qtype,
                        std::optional<int64_t> axis) {
  check_cpu(kAbsmax, {&base});
  const QType& type = check_qtype(qtype);
  const DType dtype = check_float(kAbsmax, "base", base);
  check_axis(kAbsmax, axis);
  const AxisView view = axis_view(kAbsmax, sizes_of(base), axis);
  Tensor out = empty(axis_scale_shape(sizes_of(base), axis).sizes(), dtype);
  if (view.channels == 0) return out;
  const Tensor rows = contiguous(base);
  TorchExecutor executor;
  scale::absmax(rows.const_data_ptr(), dtype, view, type,
                out.mutable_data_ptr(), executor);
  return out;
}

Tensor absmax_scale_meta(const Tensor& base, const std::string& qtype,
                         std::optional<int64_t> axis) {
  check_meta(kAbsmax, {&base});
  check_qtype(qtype);
  check_axis(kAbsmax, axis);
  const DType dtype = check_float(kAbsmax, "base", base);
  check_value(!axis || base.dim() > 1,
              "{}: expected at least 2 dimensions for a scale per index of an "
              "axis, got {}",
              kAbsmax, base.dim());
  if (!axis) return aten::new_empty(base, {}, dtype);
  std::vector<int64_t> others(static_cast<size_t>(base.dim() - 1));
  for (size_t i = 0; i < others.size(); ++i) {
    others[i] = static_cast<int64_t>(i) + (*axis == 0 ? 1 : 0);
  }
  return aten::like(aten::amax(base, others, /*keepdim=*/true), dtype);
}

/// What max_scale and hqq_scale have in common: everything but the search.
template <typename Search>
ScaleAndShift affine_scale_cpu(const char* op, const Tensor& base, int64_t bits,
                               int64_t axis, std::optional<int64_t> group_size,
                               bool zeropoint, const Search& search) {
  check_cpu(op, {&base});
  check_packed_bits(op, bits);
  const DType dtype = check_float(op, "base", base);
  const GroupLayout layout = group_layout(op, sizes_of(base), axis, group_size);
  const SmallShape shape =
      group_scale_shape(sizes_of(base), layout, group_size.has_value());
  Tensor scale = empty(shape.sizes(), dtype);
  Tensor shift = empty(shape.sizes(), dtype);
  if (layout.rows() > 0) {
    const Tensor rows = contiguous(base);
    TorchExecutor executor;
    search(rows.const_data_ptr(), dtype, layout, scale.mutable_data_ptr(),
           shift.mutable_data_ptr(), executor);
  }
  if (!zeropoint) return {scale, shift};
  Tensor points = empty(shape.sizes(), DType::kUInt8);
  scale::zero_points(scale.const_data_ptr(), shift.const_data_ptr(), dtype,
                     layout.rows(), static_cast<int>(bits),
                     static_cast<uint8_t*>(points.mutable_data_ptr()));
  return {scale, points};
}

ScaleAndShift affine_scale_meta(const char* op, const Tensor& base,
                                int64_t bits, int64_t axis,
                                std::optional<int64_t> group_size,
                                bool zeropoint) {
  check_meta(op, {&base});
  check_packed_bits(op, bits);
  check_value(axis == 0 || axis == -1,
              "{}: expected axis 0 (the first) or -1 (the last), got {}", op,
              axis);
  const DType dtype = check_float(op, "base", base);
  Tensor codes = base;
  if (group_size) {
    const int64_t by_rows[2] = {-1, *group_size};
    const int64_t by_columns[2] = {*group_size, -1};
    codes = aten::reshape(base, axis == 0 ? by_rows : by_columns);
  }
  std::vector<int64_t> others(static_cast<size_t>(codes.dim() - 1));
  for (size_t i = 0; i < others.size(); ++i) {
    others[i] = static_cast<int64_t>(i) + (axis == 0 ? 1 : 0);
  }
  const Tensor rows =
      others.empty() ? codes : aten::amax(codes, others, /*keepdim=*/true);
  return {aten::like(rows, dtype),
          aten::like(rows, zeropoint ? DType::kUInt8 : dtype)};
}

ScaleAndShift max_scale_cpu(const Tensor& base, int64_t bits, int64_t axis,
                            std::optional<int64_t> group_size, bool zeropoint) {
  return affine_scale_cpu(
      kMax, base, bits, axis, group_size, zeropoint,
      [bits](const void* rows, DType dtype, GroupLayout layout, void* scale,
             void* shift, Executor& executor) {
        scale::max(rows, dtype, layout, static_cast<int>(bits), scale, shift,
                   executor);
      });
}

ScaleAndShift max_scale_meta(const Tensor& base, int64_t bits, int64_t axis,
                             std::optional<int64_t> group_size,
                             bool zeropoint) {
  return affine_scale_meta(kMax, base, bits, axis, group_size, zeropoint);
}

HqqOptions check_hqq(double lp_norm, double beta, double kappa, int64_t iters) {
  check_value(lp_norm > 0 && lp_norm <= 1,
              "{}: expected lp_norm above 0, at most 1, got {}", kHqq, lp_norm);
  check_value(beta > 0 && kappa > 0,
              "{}: expected beta and kappa above 0, got {} and {}", kHqq, beta,
              kappa);
  check_value(iters >= 0, "{}: expected iters of 0 or more, got {}", kHqq,
              iters);
  return {static_cast<float>(lp_norm), static_cast<float>(beta),
          static_cast<float>(kappa), static_cast<int>(iters)};
}

ScaleAndShift hqq_scale_cpu(const Tensor& base, int64_t bits, int64_t axis,
                            std::optional<int64_t> group_size, bool zeropoint,
                            double lp_norm, double beta, double kappa,
                            int64_t iters) {
  const HqqOptions options = check_hqq(lp_norm, beta, kappa, iters);
  return affine_scale_cpu(kHqq, base, bits, axis, group_size, zeropoint,
                          [&](const void* rows, DType dtype, GroupLayout layout,
                              void* scale, void* shift, Executor& executor) {
                            scale::hqq(rows, dtype, layout,
                                       static_cast<int>(bits), options, scale,
                                       shift, executor);
                          });
}

ScaleAndShift hqq_scale_meta(const Tensor& base, int64_t bits, int64_t axis,
                             std::optional<int64_t> group_size, bool zeropoint,
                             double lp_norm, double beta, double kappa,
                             int64_t iters) {
  check_hqq(lp_norm, beta, kappa, iters);
  return affine_scale_meta(kHqq, base, bits, axis, group_size, zeropoint);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(quanto, CPU, m) {
  m.impl("absmax_scale", TORCH_BOX(&absmax_scale_cpu));
  m.impl("max_scale", TORCH_BOX(&max_scale_cpu));
  m.impl("hqq_scale", TORCH_BOX(&hqq_scale_cpu));
}
STABLE_TORCH_LIBRARY_IMPL(quanto, Meta, m) {
  m.impl("absmax_scale", TORCH_BOX(&absmax_scale_meta));
  m.impl("max_scale", TORCH_BOX(&max_scale_meta));
  m.impl("hqq_scale", TORCH_BOX(&hqq_scale_meta));
}

}  // namespace quanto::ops
