// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "quanto/core/dtype.h"

// What the operators need of torch's tensors, on the stable ABI: the core's
// dtypes, allocation, and descriptions for error messages that are formatted on
// failure only.

namespace quanto::ops {

using torch::stable::Tensor;
using Sizes = std::span<const int64_t>;

/// torch refuses tensors of more dimensions.
constexpr int64_t kMaxDims = 64;

/// The core's element type, or nothing if the core has no such type.
std::optional<DType> find_dtype(const Tensor& tensor);
std::optional<DType> find_dtype(torch::headeronly::ScalarType type);

/// Torch's name of an element type, without the `torch.` prefix.
std::string dtype_name(const Tensor& tensor);
std::string dtype_name(torch::headeronly::ScalarType type);

Sizes sizes_of(const Tensor& tensor);

/// A new contiguous CPU tensor, uninitialised.
Tensor empty(Sizes sizes, DType dtype);

/// The tensor itself when it is contiguous, else a contiguous copy.
Tensor contiguous(const Tensor& tensor);

/// Throws unless all of `tensors` are on the CPU (or all on meta), as the
/// kernel that was called expects.
void check_device(const char* op, std::initializer_list<const Tensor*> tensors,
                  int32_t device_type);
void check_cpu(const char* op, std::initializer_list<const Tensor*> tensors);
void check_meta(const char* op, std::initializer_list<const Tensor*> tensors);

/// float32, float16 or bfloat16; throws `op: expected name of ..., got ...`.
DType check_float(const char* op, const char* name, const Tensor& tensor);
/// int8 or a float8 type; throws.
DType check_8bit(const char* op, const char* name, const Tensor& tensor);
/// Throws unless the tensor holds `dtype`.
void check_dtype(const char* op, const char* name, const Tensor& tensor,
                 DType dtype);
/// Throws unless `bits` is 2 or 4.
void check_packed_bits(const char* op, int64_t bits);

/// Formats as `(2, 3)`.
struct Shape {
  Sizes sizes;
};
inline Shape shape_of(const Tensor& tensor) { return {sizes_of(tensor)}; }

/// Formats as torch's name of the tensor's element type.
struct DtypeName {
  const Tensor& tensor;
};

}  // namespace quanto::ops

template <>
struct fmt::formatter<quanto::ops::Shape> : fmt::formatter<std::string_view> {
  auto format(const quanto::ops::Shape& shape, format_context& context) const {
    return fmt::format_to(context.out(), "({}{})", fmt::join(shape.sizes, ", "),
                          shape.sizes.size() == 1 ? "," : "");
  }
};

template <>
struct fmt::formatter<quanto::ops::DtypeName>
    : fmt::formatter<std::string_view> {
  auto format(const quanto::ops::DtypeName& name,
              format_context& context) const {
    return formatter<std::string_view>::format(
        quanto::ops::dtype_name(name.tensor), context);
  }
};
