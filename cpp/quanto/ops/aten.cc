// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/aten.h"

#include <torch/csrc/stable/ops.h>

#include <array>
#include <vector>

namespace quanto::ops::aten {
namespace {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::detail::from;
using torch::stable::detail::to;

ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return ScalarType::Float;
    case DType::kFloat16:
      return ScalarType::Half;
    case DType::kBFloat16:
      return ScalarType::BFloat16;
    case DType::kInt8:
      return ScalarType::Char;
    case DType::kUInt8:
      return ScalarType::Byte;
    case DType::kFloat8E4M3FN:
      return ScalarType::Float8_e4m3fn;
    case DType::kFloat8E5M2:
      return ScalarType::Float8_e5m2;
    case DType::kFloat8E4M3FNUZ:
      return ScalarType::Float8_e4m3fnuz;
  }
  return ScalarType::Undefined;
}

std::vector<int64_t> list(Sizes sizes) { return {sizes.begin(), sizes.end()}; }

template <typename... Args>
Tensor call(const char* name, const char* overload, const Args&... args) {
  std::array<StableIValue, sizeof...(Args)> stack{from(args)...};
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher(name, overload, stack.data(), TORCH_ABI_VERSION));
  return to<Tensor>(stack[0]);
}

}  // namespace

Tensor contiguous(const Tensor& self) {
  return torch::stable::contiguous(self);
}

Tensor to(const Tensor& self, DType dtype) {
  return torch::stable::to(self, scalar_type(dtype));
}

Tensor reshape(const Tensor& self, Sizes shape) {
  return torch::stable::reshape(self, list(shape));
}

Tensor narrow(const Tensor& self, int64_t dim, int64_t start, int64_t length) {
  Tensor view = self;
  return torch::stable::narrow(view, dim, start, length);
}

Tensor unsqueeze(const Tensor& self, int64_t dim) {
  return call("aten::unsqueeze", "", self, dim);
}

Tensor every(const Tensor& self, int64_t step) {
  return call("aten::slice", "Tensor", self, int64_t{0},
              std::optional<int64_t>(), std::optional<int64_t>(), step);
}

Tensor repeat(const Tensor& self, int64_t count) {
  return call("aten::cat", "",
              std::vector<Tensor>(static_cast<size_t>(count), self),
              int64_t{0});
}

Tensor amax(const Tensor& self, Sizes dims, bool keepdim) {
  return call("aten::amax", "", self, list(dims), keepdim);
}

Tensor sum(const Tensor& self, Sizes dims, bool keepdim) {
  return call("aten::sum", "dim_IntList", self,
              std::optional<std::vector<int64_t>>(list(dims)), keepdim,
              std::optional<ScalarType>());
}

Tensor mul(const Tensor& self, const Tensor& other) {
  return call("aten::mul", "Tensor", self, other);
}

Tensor conv2d(const Tensor& input, const Tensor& weight, Sizes stride,
              Sizes padding, Sizes dilation, int64_t groups) {
  return call("aten::conv2d", "", input, weight, std::optional<Tensor>(),
              list(stride), list(padding), list(dilation), groups);
}

Tensor like(const Tensor& self, DType dtype) {
  return call("aten::empty_like", "", self,
              std::optional<ScalarType>(scalar_type(dtype)),
              std::optional<torch::headeronly::Layout>(),
              std::optional<torch::stable::Device>(), std::optional<bool>(),
              std::optional<MemoryFormat>(MemoryFormat::Contiguous));
}

Tensor new_empty(const Tensor& self, Sizes shape, DType dtype) {
  return torch::stable::new_empty(self, list(shape), scalar_type(dtype));
}

}  // namespace quanto::ops::aten
