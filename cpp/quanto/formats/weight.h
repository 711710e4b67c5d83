// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "quanto/core/executor.h"
#include "quanto/formats/quanto.h"

namespace quanto::formats {

enum class Optimizer : uint8_t { kAbsmax, kMax, kHqq };

/// Uninitialised memory.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size) { resize(size); }

  /// What it held is lost; memory that suffices is kept.
  void resize(size_t size) {
    if (size > capacity_) {
      data_.reset();  // before there is more, not after
      data_ = std::make_unique_for_overwrite<std::byte[]>(size);
      capacity_ = size;
    }
    size_ = size;
  }

  [[nodiscard]] std::byte* data() { return data_.get(); }
  [[nodiscard]] const std::byte* data() const { return data_.get(); }
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return {data_.get(), size_};
  }

 private:
  std::unique_ptr<std::byte[]> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

struct NamedBuffer {
  std::string name;
  Buffer buffer;
};

/// A float matrix where it lies, aligned to one byte.
struct Matrix {
  const void* data;
  DType dtype;  ///< is_activation()
  int64_t rows;
  int64_t columns;
};

/// Makes `out` the data of stored_tensors(module, ...) in that order, bit for
/// bit what the operators make of the same weight; memory that `out` holds is
/// used again. `facts.group_size` divides the columns; the optimizer is kAbsmax
/// for 8 bits and one of the others for less. Works by blocks of rows: takes
/// memory for a few numbers per group beside the result. Throws
/// std::invalid_argument for values that are not finite.
void quantize_weight(const std::string& module, const Matrix& weight,
                     WeightFacts facts, Optimizer optimizer,
                     std::vector<NamedBuffer>& out, Executor& executor);

/// The tensors of a quantized weight as they are stored.
struct StoredWeight {
  const void* data;
  const void* scale;
  const void* shift;  ///< null for 8 bits
  DType dtype;        ///< of scale
  bool integer_shift;
  int64_t rows;
  int64_t columns;
};

/// The values it stands for, rows * columns of `weight.dtype`.
void dequantize_weight(const StoredWeight& weight, WeightFacts facts, void* out,
                       Executor& executor);

}  // namespace quanto::formats
