// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "quanto/core/qtype.h"
#include "quanto/kernels/ref/element.h"
#include "quanto/kernels/ref/functions.h"

namespace quanto::kernels::ref {
namespace {

/// The value to store for one quotient: NaN stays NaN where the type has one.
float symmetric_code(float quotient, const QType& type) {
  if (type.is_floating_point) {
    return std::isnan(quotient) ? quotient
                                : std::clamp(quotient, type.qmin, type.qmax);
  }
  if (std::isnan(quotient)) return 0;
  return std::clamp(std::nearbyint(quotient), type.qmin, type.qmax);
}

/// Quotients are rounded as `Quotient` rounds.
template <typename Float, typename Quotient, typename Storage>
void quantize_run(const void* base, int64_t start, int64_t count, float scale,
                  const QType& type, void* data) {
  for (int64_t i = start; i < start + count; ++i) {
    float code = 0;
    if (scale != 0) {
      const float quotient = Quotient::round(Float::load(base, i) / scale);
      code = symmetric_code(quotient, type);
    }
    Storage::store(data, i, code);
  }
}

/// Largest |x| of a run, NaN if it holds one.
template <typename Float>
float absmax_of_run(const void* base, int64_t start, int64_t count) {
  float largest = 0;
  for (int64_t i = start; i < start + count; ++i) {
    const float magnitude = std::fabs(Float::load(base, i));
    if (std::isnan(magnitude)) return std::numeric_limits<float>::quiet_NaN();
    largest = std::max(largest, magnitude);
  }
  return largest;
}

/// One affine code.
template <typename Float>
uint8_t affine_code(float value, float scale, float shift, ShiftKind kind,
                    float largest) {
  float code = kind == ShiftKind::kInteger ? shift : 0.0F;
  if (scale != 0) {
    code =
        kind == ShiftKind::kInteger
            ? Float::round(std::nearbyint(Float::round(value / scale)) + shift)
            : std::nearbyint(Float::round(Float::round(value + shift) / scale));
  }
  if (std::isnan(code)) return 0;
  return static_cast<uint8_t>(std::clamp(code, 0.0F, largest));
}

}  // namespace

void quantize_symmetric(const void* base, DType dtype, AxisView view,
                        const void* scale, DType storage, void* data,
                        Executor& executor) {
  const QType& type = *find_8bit_qtype(storage);
  with_activation(dtype, [&](auto element) {
    with_storage(storage, [&](auto stored) {
      using Float = decltype(element);
      using Storage = decltype(stored);
      executor.parallel_for(view.outer * view.channels, grain_of(view.inner),
                            [&](int64_t begin, int64_t end) {
                              for (int64_t run = begin; run < end; ++run) {
                                quantize_run<Float, Float, Storage>(
                                    base, run * view.inner, view.inner,
                                    Float::load(scale, run % view.channels),
                                    type, data);
                              }
                            });
    });
  });
}

void quantize_rows(const void* base, DType dtype, int64_t rows, int64_t columns,
                   DType storage, void* data, float* scale,
                   Executor& executor) {
  using Float32 = Element<DType::kFloat32>;
  const QType& type = *find_8bit_qtype(storage);
  with_activation(dtype, [&](auto element) {
    with_storage(storage, [&](auto stored) {
      using Float = decltype(element);
      using Storage = decltype(stored);
      executor.parallel_for(
          rows, grain_of(columns), [&](int64_t begin, int64_t end) {
            for (int64_t row = begin; row < end; ++row) {
              const int64_t start = row * columns;
              scale[row] =
                  absmax_of_run<Float>(base, start, columns) / type.qmax;
              quantize_run<Float, Float32, Storage>(base, start, columns,
                                                    scale[row], type, data);
            }
          });
    });
  });
}

void quantize_affine(const void* base, DType dtype, GroupLayout layout,
                     int bits, const void* scale, const void* shift,
                     ShiftKind kind, uint8_t* codes, Executor& executor) {
  const auto largest = static_cast<float>((1 << bits) - 1);
  with_activation(dtype, [&](auto element) {
    using Float = decltype(element);
    executor.parallel_for(
        layout.rows(), grain_of(layout.group_size),
        [&](int64_t begin, int64_t end) {
          for (int64_t row = begin; row < end; ++row) {
            const float row_scale = Float::load(scale, row);
            const float row_shift =
                kind == ShiftKind::kInteger
                    ? static_cast<const uint8_t*>(shift)[row]
                    : Float::load(shift, row);
            for (int64_t i = 0; i < layout.group_size; ++i) {
              codes[layout.code_index(row, i)] = affine_code<Float>(
                  Float::load(base, layout.base_index(row, i)), row_scale,
                  row_shift, kind, largest);
            }
          }
        });
  });
}

}  // namespace quanto::kernels::ref
