// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/error.h"
#include "quanto/core/qtype.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/layout.h"
#include "quanto/ops/linear.h"

namespace quanto::ops {
namespace {

constexpr const char* kOp = "qbytes_mm";

/// The result's dtype.
DType check_types(const Tensor& a, const Tensor& b, const Tensor& scales) {
  const DType scale_dtype = check_float(kOp, "scales", scales);
  check_8bit(kOp, "B", b);
  check_value(b.dim() == 2, "{}: expected B of 2 dimensions, got {}", kOp,
              b.dim());
  const auto dtype = find_dtype(a);
  check_value(dtype && (is_activation(*dtype) || find_8bit_qtype(*dtype)),
              "{}: expected A of a float, int8 or float8 type, got {}", kOp,
              DtypeName{a});
  return is_activation(*dtype) ? *dtype : scale_dtype;
}

// 8-bit activations are multiplied as fp32: products of two codes are exact in
// it, and the sum keeps 24 bits, more than any result dtype.
Tensor qbytes_mm_cpu(const Tensor& a, const Tensor& b, const Tensor& scales) {
  check_cpu(kOp, {&a, &b, &scales});
  const DType dtype = check_types(a, b, scales);
  const bool is_float = is_activation(*find_dtype(a));
  const Tensor input = is_float ? a : aten::to(a, DType::kFloat32);
  const Tensor out =
      linear_cpu(kOp, {input, nullptr, nullptr, std::nullopt},
                 {b, scales, nullptr, 8, std::nullopt}, nullptr, b.size(0));
  return is_float || dtype == DType::kFloat32 ? out : aten::to(out, dtype);
}

Tensor qbytes_mm_meta(const Tensor& a, const Tensor& b, const Tensor& scales) {
  check_meta(kOp, {&a, &b, &scales});
  const DType dtype = check_types(a, b, scales);
  // (..., 1) times (N,): B's rows give the last dimension.
  const int64_t last[1] = {-1};
  const Tensor rows = aten::sum(aten::like(a, dtype), last, /*keepdim=*/true);
  const Tensor columns = aten::sum(aten::like(b, dtype), last, false);
  return aten::like(aten::mul(rows, columns), dtype);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(quanto, CPU, m) {
  m.impl("qbytes_mm", TORCH_BOX(&qbytes_mm_cpu));
}
STABLE_TORCH_LIBRARY_IMPL(quanto, Meta, m) {
  m.impl("qbytes_mm", TORCH_BOX(&qbytes_mm_meta));
}

}  // namespace quanto::ops
