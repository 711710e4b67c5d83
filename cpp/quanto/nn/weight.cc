// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/weight.h"

#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "quanto/core/packing.h"
#include "quanto/nn/check.h"
#include "quanto/nn/operators.h"
#include "quanto/nn/qtype.h"

namespace quanto {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

int64_t elements_of(const std::vector<int64_t>& size, int64_t axis) {
  const int64_t kept = axis == 0 ? size.front() : size.back();
  int64_t elements = 1;
  for (const int64_t length : size) elements *= length;
  return kept == 0 ? 0 : elements / kept;
}

void check_base(const at::Tensor& weight, int64_t axis) {
  nn::check(axis == 0 || axis == -1,
            "quantize_weight: expected axis 0 or -1, got ", axis);
  nn::check(weight.dim() > 0 && weight.numel() > 0,
            "quantize_weight: expected a weight with elements, got shape ",
            weight.sizes());
  const at::ScalarType dtype = weight.scalar_type();
  nn::check(dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16,
            "quantize_weight: expected a weight of float32, float16 or "
            "bfloat16, got ",
            dtype);
}

QWeight quantize_bytes(const at::Tensor& weight, QWeight result,
                       const Scales& found) {
  if (weight.size(*result.axis) == 1) result.axis = std::nullopt;
  result.scale = result.axis ? found.scale : found.scale.reshape({});
  result.data = nn::ops::quantize_symmetric(
      weight, nn::data_type(*result.qtype), result.axis, result.scale);
  return result;
}

QWeight quantize_codes(const at::Tensor& weight, QWeight result, Scales found) {
  const int bits = result.bits();
  const at::Tensor codes = nn::ops::quantize_affine(
      weight, bits, *result.axis, result.group_size, found.scale, *found.shift);
  result.data = nn::ops::pack(codes, bits);
  result.scale = std::move(found.scale);
  result.shift = std::move(found.shift);
  return result;
}

struct FakeQuantizeWeight
    : public torch::autograd::Function<FakeQuantizeWeight> {
  static at::Tensor forward(AutogradContext* /*context*/,
                            const at::Tensor& weight, const QType* type,
                            int64_t axis, std::optional<int64_t> group_size,
                            const OptimizerPtr& optimizer) {
    return quantize_weight(weight, *type, axis, group_size, optimizer)
        .dequantize();
  }

  static variable_list backward(AutogradContext* /*context*/,
                                const variable_list& gradients) {
    return {gradients[0], {}, {}, {}, {}};
  }
};

/// Rows and columns of the code matrix, in front of the packing.
std::vector<int64_t> code_shape(const QWeight& weight) {
  const int64_t axis = weight.axis.value_or(0);
  if (!weight.group_size) return weight.size;
  int64_t elements = 1;
  for (const int64_t length : weight.size) elements *= length;
  const int64_t rows = elements / *weight.group_size;
  if (axis == 0) return {rows, *weight.group_size};
  return {*weight.group_size, rows};
}

/// `shape` with 1 everywhere but the axis.
std::vector<int64_t> kept(const std::vector<int64_t>& shape, int64_t axis) {
  std::vector<int64_t> result(shape.size(), 1);
  if (axis == 0) {
    result.front() = shape.front();
  } else {
    result.back() = shape.back();
  }
  return result;
}

void check_tensor(const std::string& what, const at::Tensor& tensor,
                  at::IntArrayRef shape) {
  nn::check(tensor.defined() && tensor.sizes() == shape, what,
            ": expected shape ", shape, ", got ",
            tensor.defined() ? c10::str(tensor.sizes()) : "no tensor");
}

void check_float(const std::string& what, at::ScalarType dtype, bool or_byte) {
  const bool is_byte = dtype == at::kByte || dtype == at::kChar;
  nn::check(dtype == at::kFloat || dtype == at::kHalf ||
                dtype == at::kBFloat16 || (or_byte && is_byte),
            what, ": expected float32, float16 or bfloat16",
            or_byte ? " or a byte" : "", ", got ", dtype);
}

}  // namespace

at::Tensor QWeight::dequantize() const {
  if (!shift) return nn::ops::dequantize_symmetric(data, axis, scale);
  return nn::ops::dequantize_affine(data, bits(), axis.value_or(0), group_size,
                                    size, scale, *shift);
}

QWeight quantize_weight(const at::Tensor& weight, const QType& type,
                        int64_t axis, std::optional<int64_t> group_size,
                        const OptimizerPtr& optimizer) {
  const std::string op = "quantize_weight";
  check_base(weight, axis);
  const OptimizerPtr search = optimizer ? optimizer : default_optimizer(type);
  nn::check_optimizer(op, type, *search);
  QWeight result{.qtype = &type, .axis = axis, .size = weight.sizes().vec()};
  if (group_size) {
    nn::check_group_size(op, type, *group_size, elements_of(result.size, axis));
    result.group_size = group_size;
  }
  const at::NoGradGuard no_grad;
  const at::Tensor base = weight.detach();
  Scales found = search->search(base, type, axis, group_size);
  nn::check(search->symmetric() || found.shift.has_value(), op,
            ": expected a shift from optimizer ", search->name(), ", got none");
  return search->symmetric()
             ? quantize_bytes(base, std::move(result), found)
             : quantize_codes(base, std::move(result), std::move(found));
}

at::Tensor fake_quantize_weight(const at::Tensor& weight, const QType& type,
                                int64_t axis, std::optional<int64_t> group_size,
                                const OptimizerPtr& optimizer) {
  return FakeQuantizeWeight::apply(weight, &type, axis, group_size, optimizer);
}

void check_weight(const QWeight& weight, const std::string& what) {
  nn::check(weight.qtype != nullptr && !weight.size.empty(), what,
            ": expected a type and a size, got none");
  if (weight.bits() == 8) {
    check_tensor(what + "._data", weight.data, weight.size);
    check_tensor(
        what + "._scale", weight.scale,
        weight.axis ? kept(weight.size, *weight.axis) : std::vector<int64_t>());
    nn::check(!weight.shift, what, ": expected no shift for ",
              weight.qtype->name, ", got one");
  } else {
    std::vector<int64_t> packed = code_shape(weight);
    const auto scales = kept(packed, weight.axis.value_or(0));
    packed.front() = packed_rows(packed.front(), weight.bits());
    check_tensor(what + "._data._data", weight.data, packed);
    check_tensor(what + "._scale", weight.scale, scales);
    check_tensor(what + "._shift", weight.shift.value_or(at::Tensor()), scales);
    check_float(what + "._shift", weight.shift->scalar_type(), true);
  }
  check_float(what + "._scale", weight.dtype(), false);
  const at::ScalarType dtype = nn::data_type(*weight.qtype);
  nn::check(weight.data.scalar_type() == dtype, what, "._data: expected ",
            dtype, ", got ", weight.data.scalar_type());
}

namespace nn {

void check_optimizer(const std::string& op, const QType& type,
                     const Optimizer& optimizer) {
  check((type.bits == 8) == optimizer.symmetric(), op, ": expected ",
        type.bits == 8 ? "an optimizer of scales"
                       : "an optimizer of scales and shifts",
        " for ", type.name, ", got ", optimizer.name());
}

void check_group_size(const std::string& op, const QType& type,
                      int64_t group_size, int64_t elements) {
  check(type.bits != 8, op, ": expected no group_size for ", type.name,
        ", got ", group_size);
  check(group_size > 0 && elements % group_size == 0, op,
        ": expected group_size to divide ", elements, ", got ", group_size);
}

}  // namespace nn

}  // namespace quanto
