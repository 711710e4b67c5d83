// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/dense.h"

#include "quanto/nn/operators.h"
#include "quanto/nn/qtype.h"

namespace quanto::nn {

at::Tensor dense_weight(const QWeight& weight) {
  const int64_t rows = weight.size.front();
  const int64_t elements = weight.size.size() == 1 || rows == 0
                               ? 1
                               : c10::multiply_integers(weight.size) / rows;
  const at::Tensor& scale = weight.scale;
  if (!weight.shift) {
    const bool one = scale.numel() == 1;
    return ops::dequantize_symmetric(
               weight.data.reshape({rows, elements}),
               one ? std::nullopt : std::optional<int64_t>(0),
               one ? scale.reshape({}) : scale.reshape({-1, 1}))
        .reshape(weight.size);
  }
  const int64_t columns = weight.group_size.value_or(elements);
  return ops::dequantize_affine(weight.data.reshape({-1, columns}),
                                weight.bits(), 0, weight.group_size,
                                {rows, elements}, scale.reshape({-1, 1}),
                                weight.shift->reshape({-1, 1}))
      .reshape(weight.size);
}

at::Tensor dense_input(const at::Tensor& input,
                       const std::optional<at::Tensor>& input_scale,
                       const QType& activation, int64_t rows) {
  const at::ScalarType dtype = data_type(activation);
  if (input_scale) {
    const at::Tensor scale = input_scale->to(input.options());
    const at::Tensor codes =
        ops::quantize_symmetric(input, dtype, std::nullopt, scale);
    return ops::dequantize_symmetric(codes, std::nullopt, scale);
  }
  if (input.numel() == 0) return input;
  const at::Tensor base = input.to(at::kFloat).reshape({rows, -1});
  // An axis of one index is quantized per tensor.
  const auto axis = rows == 1 ? std::nullopt : std::optional<int64_t>(0);
  const at::Tensor scale = ops::absmax_scale(base, activation.name, axis);
  const at::Tensor codes = ops::quantize_symmetric(base, dtype, axis, scale);
  return ops::dequantize_symmetric(codes, axis, scale).reshape(input.sizes());
}

}  // namespace quanto::nn
