// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/packing.h"
#include "quanto/kernels/ref/element.h"
#include "quanto/kernels/ref/functions.h"

namespace quanto::kernels::ref {
namespace {

/// One row of codes in a packed code matrix.
struct PackedCodes {
  const uint8_t* packed;
  GroupLayout layout;
  int bits;

  [[nodiscard]] float at(int64_t row, int64_t item) const {
    const int64_t columns = layout.code_columns();
    const int64_t code = layout.code_index(row, item);
    const PackedRow place =
        packed_row(code / columns, layout.code_rows(), bits);
    const uint8_t byte = packed[place.row * columns + code % columns];
    return static_cast<float>((byte >> place.shift) & ((1 << bits) - 1));
  }
};

template <typename Float>
void dequantize_row(const PackedCodes& codes, int64_t row, float scale,
                    float shift, ShiftKind kind, void* out) {
  for (int64_t i = 0; i < codes.layout.group_size; ++i) {
    const float code = codes.at(row, i);
    const float value = kind == ShiftKind::kInteger
                            ? scale * (code - shift)
                            : Float::round(scale * code) - shift;
    Float::store(out, codes.layout.base_index(row, i), value);
  }
}

}  // namespace

void dequantize_symmetric(const void* data, DType storage, AxisView view,
                          const void* scale, DType dtype, void* out,
                          Executor& executor) {
  with_activation(dtype, [&](auto element) {
    with_storage(storage, [&](auto stored) {
      using Float = decltype(element);
      using Storage = decltype(stored);
      executor.parallel_for(
          view.outer * view.channels, grain_of(view.inner),
          [&](int64_t begin, int64_t end) {
            for (int64_t run = begin; run < end; ++run) {
              const float factor = Float::load(scale, run % view.channels);
              for (int64_t i = 0; i < view.inner; ++i) {
                const int64_t index = run * view.inner + i;
                Float::store(out, index, factor * Storage::load(data, index));
              }
            }
          });
    });
  });
}

void dequantize_affine(const uint8_t* packed, GroupLayout layout, int bits,
                       const void* scale, const void* shift, ShiftKind kind,
                       DType dtype, void* out, Executor& executor) {
  const PackedCodes codes = {packed, layout, bits};
  with_activation(dtype, [&](auto element) {
    using Float = decltype(element);
    executor.parallel_for(layout.rows(), grain_of(layout.group_size),
                          [&](int64_t begin, int64_t end) {
                            for (int64_t row = begin; row < end; ++row) {
                              const float row_shift =
                                  kind == ShiftKind::kInteger
                                      ? static_cast<const uint8_t*>(shift)[row]
                                      : Float::load(shift, row);
                              dequantize_row<Float>(codes, row,
                                                    Float::load(scale, row),
                                                    row_shift, kind, out);
                            }
                          });
  });
}

}  // namespace quanto::kernels::ref
