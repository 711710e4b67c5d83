// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/weight.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "quanto/core/float_convert.h"
#include "quanto/core/grouping.h"
#include "quanto/core/packing.h"
#include "quanto/formats/blocks.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/scale/absmax.h"
#include "quanto/scale/hqq.h"
#include "quanto/scale/max.h"

namespace quanto::formats {
namespace {

using kernels::ShiftKind;

void store_one(DType dtype, void* out) {
  if (dtype == DType::kFloat32) {
    const float one = 1.0F;
    std::memcpy(out, &one, sizeof(one));
    return;
  }
  const uint16_t one =
      dtype == DType::kFloat16 ? fp16_from_float(1.0F) : bf16_from_float(1.0F);
  std::memcpy(out, &one, sizeof(one));
}

/// A single row has a scale of its own, or of the tensor: the same.
AxisView view_of(int64_t rows, int64_t columns) { return {1, rows, columns}; }

GroupLayout layout_of(int64_t rows, int64_t columns, WeightFacts facts) {
  const int64_t width = facts.group_size.value_or(columns);
  return {false, rows, columns / width, width};
}

/// Elements of a block: they, what is made of them and what lies between stay
/// in the second cache.
constexpr int64_t kBlockElements = 65536;

int64_t block_of(int64_t elements) {
  return std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, elements));
}

/// A weight of 8 bits: row by row.
void quantize_bytes(const Matrix& weight, const QType& type,
                    std::vector<NamedBuffer>& out, Executor& executor) {
  const auto* base = static_cast<const std::byte*>(weight.data);
  std::byte* codes = out[0].buffer.data();
  std::byte* scales = out[1].buffer.data();
  const int64_t size = size_of(weight.dtype), width = weight.columns;
  for_blocks(weight.rows, block_of(width), executor,
             [&](int64_t begin, int64_t end, Executor& serial) {
               const void* rows = base + begin * width * size;
               const AxisView view = view_of(end - begin, width);
               std::byte* scale = scales + begin * size;
               scale::absmax(rows, weight.dtype, view, type, scale, serial);
               kernels::kernels().quantize_symmetric(
                   rows, weight.dtype, view, scale, type.storage,
                   codes + begin * width, serial);
             });
}

/// A weight of 4 or 2 bits, as rows of groups.
struct Groups {
  const std::byte* base;
  DType dtype;
  int bits;
  int64_t rows;
  int64_t width;
  std::byte* scale;
  std::byte* shift;

  /// Codes of rows [first, first + count); with `choose` scale and shift too.
  void quantize(int64_t first, int64_t count, bool choose, uint8_t* codes,
                Executor& executor) const {
    const int64_t size = size_of(dtype);
    const GroupLayout layout{false, count, 1, width};
    const void* from = base + first * width * size;
    std::byte* scales = scale + first * size;
    std::byte* shifts = shift + first * size;
    if (choose) {
      scale::max(from, dtype, layout, bits, scales, shifts, executor);
    }
    kernels::kernels().quantize_affine(from, dtype, layout, bits, scales,
                                       shifts, ShiftKind::kFloat, codes,
                                       executor);
  }
};

/// Packs by blocks of packed rows, whose items are rows of as many places.
void quantize_groups(const Groups& groups, bool choose, uint8_t* out,
                     Executor& executor) {
  const int64_t planes = codes_per_byte(groups.bits);
  const int64_t packed = packed_rows(groups.rows, groups.bits);
  const int64_t width = groups.width;
  for_blocks(packed, block_of(planes * width), executor,
             [&](int64_t begin, int64_t end, Executor& serial) {
               const int64_t most = end - begin;
               const auto codes = std::make_unique_for_overwrite<uint8_t[]>(
                   static_cast<size_t>(planes * most * width));
               for (int64_t plane = 0; plane < planes; ++plane) {
                 const int64_t first = plane * packed + begin;
                 const int64_t count =
                     std::clamp<int64_t>(groups.rows - first, 0, most);
                 uint8_t* rows = codes.get() + plane * most * width;
                 if (count > 0)
                   groups.quantize(first, count, choose, rows, serial);
                 // The last plane may end before the others.
                 std::memset(rows + count * width, 0,
                             static_cast<size_t>((most - count) * width));
               }
               kernels::kernels().pack(codes.get(), planes * most, width,
                                       groups.bits, out + begin * width,
                                       serial);
             });
}

void quantize_bits(const Matrix& weight, WeightFacts facts, Optimizer optimizer,
                   std::vector<NamedBuffer>& out, Executor& executor) {
  const GroupLayout layout = layout_of(weight.rows, weight.columns, facts);
  const Groups groups{static_cast<const std::byte*>(weight.data),
                      weight.dtype,
                      qtype(facts.qtype).bits,
                      layout.rows(),
                      layout.group_size,
                      out[1].buffer.data(),
                      out[2].buffer.data()};
  const bool whole = optimizer == Optimizer::kHqq;
  if (whole) {
    scale::hqq(weight.data, weight.dtype, layout, groups.bits, {}, groups.scale,
               groups.shift, executor);
  }
  quantize_groups(groups, !whole,
                  reinterpret_cast<uint8_t*>(out[0].buffer.data()), executor);
}

}  // namespace

void quantize_weight(const std::string& module, const Matrix& weight,
                     WeightFacts facts, Optimizer optimizer,
                     std::vector<NamedBuffer>& out, Executor& executor) {
  const QType& type = qtype(facts.qtype);
  const auto tensors =
      stored_tensors(module, facts, weight.dtype, weight.rows, weight.columns);
  out.resize(tensors.size());
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].name = tensors[i].name;
    // A part of what is mapped, so its size fits.
    out[i].buffer.resize(
        io::tensor_bytes(*tensors[i].type, tensors[i].shape).value_or(0));
  }
  if (type.bits == 8) {
    quantize_bytes(weight, type, out, executor);
  } else {
    quantize_bits(weight, facts, optimizer, out, executor);
  }
  for (size_t i = out.size() - 2; i < out.size(); ++i) {
    store_one(weight.dtype, out[i].buffer.data());
  }
}

void dequantize_weight(const StoredWeight& weight, WeightFacts facts, void* out,
                       Executor& executor) {
  const QType& type = qtype(facts.qtype);
  if (type.bits == 8) {
    kernels::kernels().dequantize_symmetric(
        weight.data, type.storage, view_of(weight.rows, weight.columns),
        weight.scale, weight.dtype, out, executor);
    return;
  }
  kernels::kernels().dequantize_affine(
      static_cast<const uint8_t*>(weight.data),
      layout_of(weight.rows, weight.columns, facts), type.bits, weight.scale,
      weight.shift,
      weight.integer_shift ? ShiftKind::kInteger : ShiftKind::kFloat,
      weight.dtype, out, executor);
}

}  // namespace quanto::formats
