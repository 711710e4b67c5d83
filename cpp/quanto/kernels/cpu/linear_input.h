// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/element.h"
#include "quanto/kernels/cpu/linear_vec.h"
#include "quanto/kernels/kernels.h"

// Activations, scales and bias to fp32, and results back.

namespace quanto::kernels {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

constexpr int64_t bits_of(QTypeId id) {
  return id == QTypeId::kQInt2 ? 2 : id == QTypeId::kQInt4 ? 4 : 8;
}
constexpr bool is_integer(QTypeId id) {
  return bits_of(id) < 8 || id == QTypeId::kQInt8;
}

/// k of int8 codes by int8 codes at most: so many products, up to 2^14 each,
/// stay below 2^31.
constexpr int64_t kMostIntK = (int64_t{1} << 17) - 1;

/// How many bfloat16 terms an element of the input has (linear_terms.h).
constexpr int terms_of(DType input) {
  return input == DType::kFloat32 ? 3 : input == DType::kFloat16 ? 2 : 1;
}

/// Calls body with a function that loads `count` <= kLanes elements of `source`
/// from an index as fp32, the other lanes 0.
template <typename Body>
inline void with_loader(const void* source, DType dtype, Body body) {
  const auto* bytes = static_cast<const uint8_t*>(source);
  const auto* halves = static_cast<const uint16_t*>(source);
  const auto* floats = static_cast<const float*>(source);
  switch (dtype) {
    case DType::kFloat16:
      body([=](int64_t i, int count) {
        return count == kLanes ? load_fp16(halves + i)
                               : load_fp16_tail(halves + i, count);
      });
      break;
    case DType::kBFloat16:
      body([=](int64_t i, int count) {
        return count == kLanes ? load_bf16(halves + i)
                               : load_bf16_tail(halves + i, count);
      });
      break;
    case DType::kFloat32:
      body([=](int64_t i, int count) {
        return count == kLanes ? load(floats + i)
                               : load_tail(floats + i, count);
      });
      break;
    default:
      body([=](int64_t i, int count) {
        return to_float(count == kLanes ? load_u8(bytes + i)
                                        : load_u8_tail(bytes + i, count));
      });
  }
}

/// Loads `count` <= kLanes codes of activations from an index on as fp32, the
/// other lanes 0.
template <DType kStorage>
struct CodeLoader {
  const uint8_t* codes;

  Vec operator()(int64_t i, int count) const {
    if constexpr (kStorage == DType::kInt8) {
      const auto* p = reinterpret_cast<const int8_t*>(codes) + i;
      return to_float(count == kLanes ? load_s8(p) : load_s8_tail(p, count));
    } else {
      return decode_float8<kStorage>(count == kLanes
                                         ? load_bytes(codes + i)
                                         : load_bytes_tail(codes + i, count));
    }
  }
};

/// with_loader for activations, which may be codes.
template <typename Body>
inline void with_input_loader(const void* input, DType dtype, Body body) {
  if (is_activation(dtype)) return with_loader(input, dtype, body);
  with_storage(dtype, [&](auto stored) {
    body(CodeLoader<decltype(stored)::value>{
        static_cast<const uint8_t*>(input)});
  });
}

/// The same for the input of a problem.
template <typename Body>
inline void with_input_loader(const LinearProblem& problem,
                              const LinearArgs& args, Body body) {
  with_input_loader(args.input, problem.input, body);
}

/// Elements [offset, offset + count) of what `load_at` loads.
template <typename Load>
inline void load_run(Load load_at, int64_t offset, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(out + i, load_at(offset + i, kLanes));
  }
  const int tail = static_cast<int>(count - i);
  if (tail != 0) store_tail(out + i, load_at(offset + i, tail), tail);
}

/// Elements [offset, offset + count) of a float16, bfloat16, float32 or uint8
/// array as fp32.
inline void to_float(const void* source, DType dtype, int64_t offset,
                     int64_t count, float* out) {
  with_loader(source, dtype,
              [=](auto load_at) { load_run(load_at, offset, count, out); });
}

/// The same of the input.
inline void input_to_float(const LinearProblem& problem, const LinearArgs& args,
                           int64_t offset, int64_t count, float* out) {
  with_input_loader(problem, args, [=](auto load_at) {
    load_run(load_at, offset, count, out);
  });
}

/// The sum of elements [offset, offset + count) of the input, without scale.
inline float input_sum(const LinearProblem& problem, const LinearArgs& args,
                       int64_t offset, int64_t count) {
  Vec sum = zero();
  with_input_loader(problem, args, [&](auto load_at) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      sum = add(sum, load_at(offset + i, kLanes));
    }
    const int tail = static_cast<int>(count - i);
    if (tail != 0) sum = add(sum, load_at(offset + i, tail));
  });
  return reduce_add(sum);
}

/// What the sums of a row of the input are multiplied by.
inline float row_scale(const LinearProblem& problem, const LinearArgs& args,
                       int64_t row) {
  if (problem.input_scale == InputScale::kNone) return 1.0F;
  return args.input_scale[problem.input_scale == InputScale::kRow ? row : 0];
}

/// The same for `rows` rows of `count` <= kWidth elements, `stride` apart, into
/// rows of kWidth, 0 past the last.
template <int kWidth>
inline void to_float_rows(const void* source, DType dtype, int64_t offset,
                          int64_t stride, int64_t rows, int64_t count,
                          float* out) {
  with_loader(source, dtype, [=](auto load_at) {
    for (int64_t r = 0; r < rows; ++r) {
      QUANTO_UNROLL for (int i = 0; i < kWidth; i += kLanes) {
        const auto part =
            static_cast<int>(larger(0, smaller(kLanes, count - i)));
        store(out + r * kWidth + i,
              part == 0 ? zero() : load_at(offset + r * stride + i, part));
      }
    }
  });
}

/// One element of the same.
inline float element(const void* source, DType dtype, int64_t index) {
  float value;
  to_float(source, dtype, index, 1, &value);
  return value;
}

inline Vec load_output(const void* source, DType dtype, int64_t index,
                       int count) {
  const uint8_t* p = static_cast<const uint8_t*>(source) +
                     index * (dtype == DType::kFloat32 ? 4 : 2);
  if (dtype == DType::kFloat32) {
    return load_tail(reinterpret_cast<const float*>(p), count);
  }
  const auto* half = reinterpret_cast<const uint16_t*>(p);
  return dtype == DType::kFloat16 ? load_fp16_tail(half, count)
                                  : load_bf16_tail(half, count);
}

/// Converts `count` <= kLanes values to `dtype` and stores them at `index`.
inline void store_output(void* target, DType dtype, int64_t index, Vec value,
                         int count) {
  uint8_t* p = static_cast<uint8_t*>(target) +
               index * (dtype == DType::kFloat32 ? 4 : 2);
  if (dtype == DType::kFloat32) {
    store_tail(reinterpret_cast<float*>(p), value, count);
  } else {
    store16_tail(reinterpret_cast<uint16_t*>(p),
                 dtype == DType::kFloat16 ? to_fp16(value) : to_bf16(value),
                 count);
  }
}

/// sums (fp32) by the row's scale plus bias to output row `row`, columns
/// [column, column + count).
inline void write_outputs(const LinearProblem& problem, const LinearArgs& args,
                          int64_t row, int64_t column, int64_t count,
                          const float* sums) {
  const Vec scale = broadcast(row_scale(problem, args, row));
  for (int64_t i = 0; i < count; i += kLanes) {
    const int part = static_cast<int>(smaller(kLanes, count - i));
    Vec value = mul(load_tail(sums + i, part), scale);
    if (args.bias != nullptr) {
      value = add(value,
                  load_output(args.bias, problem.activation, column + i, part));
    }
    store_output(args.output, problem.activation, row * problem.n + column + i,
                 value, part);
  }
}

/// A row or group whose largest element is in [2^-60, 2^60] stays far from the
/// ends of fp32, whatever is done to it and whatever the scales.
constexpr int kMostExponent = 60;

/// The largest magnitude of `count` elements of what `load_at` loads, from
/// `offset` on. Returns false where one is not finite.
template <typename Load>
inline bool find_largest(Load load_at, int64_t offset, int64_t count,
                         float* most) {
  Vec largest = zero();
  Vec seen = zero();
  for (int64_t i = 0; i < count; i += kLanes) {
    const Vec x =
        load_at(offset + i, static_cast<int>(smaller(kLanes, count - i)));
    largest = max(largest, abs(x));
    seen = fma(x, zero(), seen);  // NaN of what is not finite
  }
  *most = reduce_max(largest);
  return !any_nan(seen);
}

inline bool all_finite(const float* sums, int64_t count) {
  // Of a number that is not finite, it leaves NaN.
  Vec seen = zero();
  for (int64_t i = 0; i < count; i += kLanes) {
    const int part = static_cast<int>(smaller(kLanes, count - i));
    seen = fma(load_tail(sums + i, part), zero(), seen);
  }
  return !any_nan(seen);
}

}  // namespace
}  // namespace quanto::kernels
