// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/operators.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <stdexcept>
#include <string>

namespace quanto::nn::ops {

namespace {

template <typename Signature>
auto find(const char* name) {
  auto schema = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!schema) {
    throw std::runtime_error(
        std::string(name) +
        ": expected libquanto.so in this process, got no such operator (link "
        "it with -Wl,--no-as-needed)");
  }
  return schema->typed<Signature>();
}

/// The handle of an operator whose C++ face has the same signature.
#define QUANTO_OPERATOR(name) \
  static const auto op = find<decltype(name)>("quanto::" #name)

}  // namespace

Tensor quantize_symmetric(const Tensor& base, ScalarType dtype,
                          OptionalInt axis, const Tensor& scale) {
  QUANTO_OPERATOR(quantize_symmetric);
  return op.call(base, dtype, axis, scale);
}

Tensor quantize_affine(const Tensor& base, int64_t bits, int64_t axis,
                       OptionalInt group_size, const Tensor& scale,
                       const Tensor& shift) {
  QUANTO_OPERATOR(quantize_affine);
  return op.call(base, bits, axis, group_size, scale, shift);
}

Tensor pack(const Tensor& codes, int64_t bits) {
  QUANTO_OPERATOR(pack);
  return op.call(codes, bits);
}

Tensor dequantize_symmetric(const Tensor& data, OptionalInt axis,
                            const Tensor& scale) {
  QUANTO_OPERATOR(dequantize_symmetric);
  return op.call(data, axis, scale);
}

Tensor dequantize_affine(const Tensor& data, int64_t bits, int64_t axis,
                         OptionalInt group_size, at::IntArrayRef size,
                         const Tensor& scale, const Tensor& shift) {
  QUANTO_OPERATOR(dequantize_affine);
  return op.call(data, bits, axis, group_size, size, scale, shift);
}

Tensor absmax_scale(const Tensor& base, std::string_view qtype,
                    OptionalInt axis) {
  QUANTO_OPERATOR(absmax_scale);
  return op.call(base, qtype, axis);
}

std::tuple<Tensor, Tensor> max_scale(const Tensor& base, int64_t bits,
                                     int64_t axis, OptionalInt group_size,
                                     bool zeropoint) {
  QUANTO_OPERATOR(max_scale);
  return op.call(base, bits, axis, group_size, zeropoint);
}

std::tuple<Tensor, Tensor> hqq_scale(const Tensor& base, int64_t bits,
                                     int64_t axis, OptionalInt group_size,
                                     bool zeropoint, double lp_norm,
                                     double beta, double kappa, int64_t iters) {
  QUANTO_OPERATOR(hqq_scale);
  return op.call(base, bits, axis, group_size, zeropoint, lp_norm, beta, kappa,
                 iters);
}

Tensor linear(const Tensor& input, const Tensor& data, const Tensor& scale,
              const OptionalTensor& shift, const OptionalTensor& bias,
              int64_t bits, OptionalInt group_size, OptionalInt out_features) {
  QUANTO_OPERATOR(linear);
  return op.call(input, data, scale, shift, bias, bits, group_size,
                 out_features);
}

Tensor qlinear(const Tensor& input, const OptionalTensor& input_scale,
               const Tensor& data, const Tensor& scale,
               const OptionalTensor& shift, const OptionalTensor& bias,
               int64_t bits, OptionalInt group_size, int64_t out_features,
               ScalarType activation, const OptionalTensor& output_scale) {
  QUANTO_OPERATOR(qlinear);
  return op.call(input, input_scale, data, scale, shift, bias, bits, group_size,
                 out_features, activation, output_scale);
}

Tensor conv2d(const Tensor& input, const OptionalTensor& input_scale,
              const Tensor& data, const Tensor& scale,
              const OptionalTensor& shift, const OptionalTensor& bias,
              int64_t bits, OptionalInt group_size, at::IntArrayRef size,
              at::IntArrayRef stride, at::IntArrayRef padding,
              at::IntArrayRef dilation, int64_t groups,
              std::optional<ScalarType> activation,
              const OptionalTensor& output_scale) {
  QUANTO_OPERATOR(conv2d);
  return op.call(input, input_scale, data, scale, shift, bias, bits, group_size,
                 size, stride, padding, dilation, groups, activation,
                 output_scale);
}

Tensor embedding(const Tensor& indices, const Tensor& data, const Tensor& scale,
                 const OptionalTensor& shift, int64_t bits,
                 OptionalInt group_size, int64_t num_embeddings,
                 int64_t embedding_dim) {
  QUANTO_OPERATOR(embedding);
  return op.call(indices, data, scale, shift, bits, group_size, num_embeddings,
                 embedding_dim);
}

Tensor moving_absmax_scale(const Tensor& scale, const Tensor& base,
                           std::string_view qtype, double momentum) {
  QUANTO_OPERATOR(moving_absmax_scale);
  return op.call(scale, base, qtype, momentum);
}

#undef QUANTO_OPERATOR

}  // namespace quanto::nn::ops
