// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quanto/core/qtype.h"
#include "quanto/nn/optimizer.h"

namespace quanto {

/// A quantized weight: plain tensors, in the layout of core/packing.h and
/// core/grouping.h, and the facts that say what they mean. A value: copies
/// share the tensors.
///
/// - 8 bits: `data` of shape `size`, int8 or float8; `scale` with one element
///   per index of the axis, of the weight's rank, or 0-d where `axis` is
///   nullopt; no shift: w = scale * q.
/// - 4 and 2 bits: `data` packed, uint8; `scale` and `shift` with one element
///   per group. A float shift: w = scale * q - shift; a byte: w = scale *
///   (q - shift), q unsigned.
struct QWeight {
  const QType* qtype = nullptr;         ///< a row of kQTypes
  std::optional<int64_t> axis{};        ///< 0 or -1; nullopt: one scale for all
  std::optional<int64_t> group_size{};  ///< nullopt: one group per index
  std::vector<int64_t> size{};          ///< of the float weight
  at::Tensor data{};
  at::Tensor scale{};
  std::optional<at::Tensor> shift{};

  [[nodiscard]] int bits() const { return qtype->bits; }
  [[nodiscard]] at::ScalarType dtype() const { return scale.scalar_type(); }

  /// The values it stands for: shape `size`, scale's dtype.
  [[nodiscard]] at::Tensor dequantize() const;
};

/// Quantizes a weight of float32, float16 or bfloat16, bit for bit as Python
/// does. axis is 0 or -1. `group_size` is for 4 and 2 bits and must divide the
/// elements of one index of the axis; nullopt is one group per index
/// (automatic_group_size() in core/grouping.h is what quantize() takes). The
/// optimizer defaults to default_optimizer(). No gradient. Throws
/// std::invalid_argument for what does not fit together.
QWeight quantize_weight(const at::Tensor& weight, const QType& type,
                        int64_t axis = 0,
                        std::optional<int64_t> group_size = std::nullopt,
                        const OptimizerPtr& optimizer = nullptr);

/// dequantize() of quantize_weight(), with the gradient passed straight to
/// `weight`: for layers of your own in quantization-aware training.
at::Tensor fake_quantize_weight(
    const at::Tensor& weight, const QType& type, int64_t axis = 0,
    std::optional<int64_t> group_size = std::nullopt,
    const OptimizerPtr& optimizer = nullptr);

/// Throws std::invalid_argument unless the tensors of `weight` have the shapes
/// and dtypes that its facts ask for; `what` names it in the message.
void check_weight(const QWeight& weight, const std::string& what);

namespace nn {

/// Throw std::invalid_argument: `op: expected X, got Y`.
void check_optimizer(const std::string& op, const QType& type,
                     const Optimizer& optimizer);
void check_group_size(const std::string& op, const QType& type,
                      int64_t group_size, int64_t elements);

}  // namespace nn

}  // namespace quanto
