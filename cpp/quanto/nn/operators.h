// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>

// The operators of libquanto.so by typed handles, found once. Contracts:
// ops/schemas.cc. Each throws std::runtime_error if the library is not loaded
// or is of another version.

namespace quanto::nn::ops {

using at::ScalarType;
using at::Tensor;
using OptionalInt = std::optional<int64_t>;
using OptionalTensor = std::optional<Tensor>;

Tensor quantize_symmetric(const Tensor& base, ScalarType dtype,
                          OptionalInt axis, const Tensor& scale);
Tensor quantize_affine(const Tensor& base, int64_t bits, int64_t axis,
                       OptionalInt group_size, const Tensor& scale,
                       const Tensor& shift);
Tensor pack(const Tensor& codes, int64_t bits);
Tensor dequantize_symmetric(const Tensor& data, OptionalInt axis,
                            const Tensor& scale);
Tensor dequantize_affine(const Tensor& data, int64_t bits, int64_t axis,
                         OptionalInt group_size, at::IntArrayRef size,
                         const Tensor& scale, const Tensor& shift);
Tensor absmax_scale(const Tensor& base, std::string_view qtype,
                    OptionalInt axis);
std::tuple<Tensor, Tensor> max_scale(const Tensor& base, int64_t bits,
                                     int64_t axis, OptionalInt group_size,
                                     bool zeropoint);
std::tuple<Tensor, Tensor> hqq_scale(const Tensor& base, int64_t bits,
                                     int64_t axis, OptionalInt group_size,
                                     bool zeropoint, double lp_norm,
                                     double beta, double kappa, int64_t iters);
Tensor linear(const Tensor& input, const Tensor& data, const Tensor& scale,
              const OptionalTensor& shift, const OptionalTensor& bias,
              int64_t bits, OptionalInt group_size, OptionalInt out_features);
Tensor qlinear(const Tensor& input, const OptionalTensor& input_scale,
               const Tensor& data, const Tensor& scale,
               const OptionalTensor& shift, const OptionalTensor& bias,
               int64_t bits, OptionalInt group_size, int64_t out_features,
               ScalarType activation, const OptionalTensor& output_scale);
Tensor conv2d(const Tensor& input, const OptionalTensor& input_scale,
              const Tensor& data, const Tensor& scale,
              const OptionalTensor& shift, const OptionalTensor& bias,
              int64_t bits, OptionalInt group_size, at::IntArrayRef size,
              at::IntArrayRef stride, at::IntArrayRef padding,
              at::IntArrayRef dilation, int64_t groups,
              std::optional<ScalarType> activation,
              const OptionalTensor& output_scale);
Tensor embedding(const Tensor& indices, const Tensor& data, const Tensor& scale,
                 const OptionalTensor& shift, int64_t bits,
                 OptionalInt group_size, int64_t num_embeddings,
                 int64_t embedding_dim);
Tensor moving_absmax_scale(const Tensor& scale, const Tensor& base,
                           std::string_view qtype, double momentum);

}  // namespace quanto::nn::ops
