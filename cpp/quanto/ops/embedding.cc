// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "quanto/core/error.h"
#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/layout.h"
#include "quanto/ops/linear.h"
#include "quanto/ops/torch_executor.h"

namespace quanto::ops {
namespace {

using kernels::LinearProblem;
using kernels::ShiftKind;
using torch::headeronly::ScalarType;

constexpr const char* kOp = "embedding";

/// Indices decoded by one call of a kernel: enough to pay for the call, few
/// enough to stay in a cache.
constexpr int64_t kIndicesAtOnce = 16;
/// Bytes of results that are worth a thread.
constexpr int64_t kBytesOfThread = 1 << 15;

void check_indices_type(const Tensor& indices) {
  const ScalarType type = indices.scalar_type();
  check_value(type == ScalarType::Long || type == ScalarType::Int,
              "{}: expected indices of int64 or int32, got {}", kOp,
              DtypeName{indices});
}

template <typename Index>
void check_indices(const Index* indices, int64_t count, int64_t rows) {
  for (int64_t i = 0; i < count; ++i) {
    if (indices[i] < 0 || indices[i] >= rows) [[unlikely]] {
      throw std::out_of_range(
          fmt::format("{}: expected indices in [0, {}), got {}", kOp, rows,
                      static_cast<int64_t>(indices[i])));
    }
  }
}

/// The rows of a weight that are asked for.
template <typename Index>
struct Rows {
  const LinearProblem& problem;
  const WeightMemory& weight;
  const Index* indices;
  std::byte* out;

  [[nodiscard]] int64_t row_bytes() const {
    return problem.k * size_of(problem.scale);
  }

  void decode_bytes(int64_t first, int64_t last, Executor& executor) const {
    const auto* data =
        static_cast<const std::byte*>(weight.data.const_data_ptr());
    const auto* scale =
        static_cast<const std::byte*>(weight.scale.const_data_ptr());
    const DType storage = qtype(problem.weight).storage;
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = indices[i];
      kernels::kernels().dequantize_symmetric(
          data + row * problem.k, storage, {1, 1, problem.k},
          scale + (problem.per_tensor ? 0 : row * size_of(problem.scale)),
          problem.scale, out + i * row_bytes(), executor);
    }
  }

  /// The group rows of some indices as a packed matrix of their own.
  void decode_packed(int64_t first, int64_t last, Executor& executor) const {
    const int64_t groups = problem.k / problem.group_size;
    const int64_t rows = (last - first) * groups;
    const int bits = qtype(problem.weight).bits;
    const bool integer = problem.shift == ShiftKind::kInteger;
    const int64_t scale_bytes = groups * size_of(problem.scale);
    const int64_t shift_bytes = integer ? groups : scale_bytes;
    const Temporary codes(static_cast<size_t>(rows * problem.group_size));
    const Temporary packed(
        static_cast<size_t>(packed_rows(rows, bits) * problem.group_size));
    const Temporary scales(static_cast<size_t>(rows * sizeof(float)));
    const Temporary shifts(static_cast<size_t>(rows * sizeof(float)));
    for (int64_t i = first; i < last; ++i) {
      const int64_t at = i - first;
      read_codes(indices[i] * groups, groups, bits,
                 reinterpret_cast<uint8_t*>(codes.data()) + at * problem.k);
      copy_row(weight.scale.const_data_ptr(), indices[i], scale_bytes,
               scales.data() + at * scale_bytes);
      copy_row(weight.shift_data(), indices[i], shift_bytes,
               shifts.data() + at * shift_bytes);
    }
    auto* bytes = reinterpret_cast<uint8_t*>(packed.data());
    kernels::kernels().pack(reinterpret_cast<const uint8_t*>(codes.data()),
                            rows, problem.group_size, bits, bytes, executor);
    kernels::kernels().dequantize_affine(
        bytes, {false, last - first, groups, problem.group_size}, bits,
        scales.data(), shifts.data(), problem.shift, problem.scale,
        out + first * row_bytes(), executor);
  }

  void read_codes(int64_t first, int64_t count, int bits,
                  uint8_t* codes) const {
    const int64_t columns = problem.group_size;
    const int64_t rows = problem.n * (problem.k / columns);
    const auto* data =
        static_cast<const uint8_t*>(weight.data.const_data_ptr());
    const auto mask = static_cast<uint8_t>((1 << bits) - 1);
    for (int64_t row = first; row < first + count; ++row) {
      const PackedRow place = packed_row(row, rows, bits);
      const uint8_t* bytes = data + place.row * columns;
      for (int64_t i = 0; i < columns; ++i) {
        codes[i] = static_cast<uint8_t>(bytes[i] >> place.shift) & mask;
      }
      codes += columns;
    }
  }

  static void copy_row(const void* rows, int64_t row, int64_t bytes,
                       std::byte* out) {
    std::memcpy(out, static_cast<const std::byte*>(rows) + row * bytes,
                static_cast<size_t>(bytes));
  }
};

template <typename Index>
void decode(const LinearProblem& problem, const Tensor& indices,
            const WeightMemory& weight, void* out) {
  const auto* wanted = static_cast<const Index*>(indices.const_data_ptr());
  const int64_t count = indices.numel();
  check_indices(wanted, count, problem.n);
  if (problem.k == 0) return;
  const Rows<Index> rows{problem, weight, wanted, static_cast<std::byte*>(out)};
  const int64_t chunks = (count + kIndicesAtOnce - 1) / kIndicesAtOnce;
  const int64_t grain = std::max<int64_t>(
      1, kBytesOfThread / (kIndicesAtOnce * rows.row_bytes()));
  TorchExecutor threads;
  threads.parallel_for(chunks, grain, [&](int64_t begin, int64_t end) {
    SerialExecutor executor;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunk * kIndicesAtOnce;
      const int64_t last = std::min(count, first + kIndicesAtOnce);
      if (qtype(problem.weight).bits == 8) {
        rows.decode_bytes(first, last, executor);
      } else {
        rows.decode_packed(first, last, executor);
      }
    }
  });
}

Tensor embedding_cpu(const Tensor& indices, const Tensor& data,
                     const Tensor& scale, const std::optional<Tensor>& shift,
                     int64_t bits, std::optional<int64_t> group_size,
                     int64_t num_embeddings, int64_t embedding_dim) {
  const Weight weight{data, scale, pointer(shift), bits, group_size};
  check_cpu(kOp, {&indices, &data, &scale, weight.shift});
  check_indices_type(indices);
  LinearProblem problem{};
  check_weight_types(kOp, weight, &problem);
  const int64_t size[2] = {num_embeddings, embedding_dim};
  check_weight_sizes(kOp, weight, size, &problem);
  SmallShape shape;
  for (const int64_t length : sizes_of(indices)) shape.push(length);
  check_value(shape.count < kMaxDims,
              "{}: expected indices of fewer than {} dimensions, got {}", kOp,
              kMaxDims, shape.count);
  shape.push(embedding_dim);

  Tensor out = empty(shape.sizes(), problem.scale);
  const WeightMemory memory(weight);
  const Tensor wanted = contiguous(indices);
  if (indices.scalar_type() == ScalarType::Long) {
    decode<int64_t>(problem, wanted, memory, out.mutable_data_ptr());
  } else {
    decode<int32_t>(problem, wanted, memory, out.mutable_data_ptr());
  }
  return out;
}

Tensor embedding_meta(const Tensor& indices, const Tensor& data,
                      const Tensor& scale, const std::optional<Tensor>& shift,
                      int64_t bits, std::optional<int64_t> group_size, int64_t,
                      int64_t embedding_dim) {
  const Weight weight{data, scale, pointer(shift), bits, group_size};
  check_meta(kOp, {&indices, &data, &scale, weight.shift});
  check_indices_type(indices);
  LinearProblem problem{};
  check_weight_types(kOp, weight, &problem);
  // (..., 1) times (embedding_dim,): one dimension more than the indices.
  const int64_t columns[1] = {embedding_dim};
  const Tensor rows = aten::unsqueeze(aten::like(indices, problem.scale), -1);
  return aten::like(
      aten::mul(rows, aten::new_empty(indices, columns, problem.scale)),
      problem.scale);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(quanto, CPU, m) {
  m.impl("embedding", TORCH_BOX(&embedding_cpu));
}
STABLE_TORCH_LIBRARY_IMPL(quanto, Meta, m) {
  m.impl("embedding", TORCH_BOX(&embedding_meta));
}

}  // namespace quanto::ops
