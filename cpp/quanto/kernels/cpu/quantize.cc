// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/affine.h"
#include "quanto/kernels/cpu/float8_words.h"
#include "quanto/kernels/cpu/order.h"
#include "quanto/kernels/cpu/quotient.h"
#include "quanto/kernels/cpu/tables.h"

namespace quanto::kernels {
namespace {

/// The code of quotients, one in each lane.
template <DType kStorage>
inline IVec symmetric_code(Vec quotient) {
  // In this order of operands NaN passes both.
  if constexpr (kStorage == DType::kInt8) {
    // As an integer, NaN has a low byte of 0.
    return to_int(min(broadcast(127.0F), max(broadcast(-128.0F), quotient)));
  } else {
    const Vec largest = broadcast(Float8Format<kStorage>::kMax);
    return encode_float8<kStorage>(
        min(largest, max(sub(zero(), largest), quotient)));
  }
}

/// Whether codes may be made with a reciprocal of the scale (quotient.h): small
/// quotients of fp16, which make float8 codes other than 0, may not.
template <DType kFloat, DType kStorage>
constexpr bool kByReciprocal =
    kFloat == DType::kBFloat16 ||
    (kFloat == DType::kFloat16 && kStorage == DType::kInt8);

/// Float8 codes of as many bfloat16 as fill words, under one scale; how many
/// that was: none if the scale is too small or too large for it.
template <DType kStorage>
inline int64_t quantize_words(const void* base, int64_t index, int64_t count,
                              float scale, uint8_t* data) {
  using E = Element<DType::kBFloat16>;
  const float divisor = scale / kWordScale<kStorage>;
  if (!has_reciprocal(divisor)) return 0;
  const Vec reciprocal = broadcast(1.0F / divisor);
  const Vec largest =
      broadcast(Float8Format<kStorage>::kMax * kWordScale<kStorage>);
  const auto word = [&](int64_t i) {
    const Vec quotient = mul(E::load(base, index + i, All{}), reciprocal);
    return word_of(round_quotient<DType::kBFloat16>(
        min(largest, max(sub(zero(), largest), quotient))));
  };
  constexpr int64_t kCount = sizeof(WordBytes);
  int64_t done = 0;
  for (; done + kCount <= count; done += kCount) {
    look_ahead<2>(base, index + done);
    const auto codes = encode_words<kStorage>(
        join_words(word(done), word(done + Vec::kLanes)));
    __builtin_memcpy(data + index + done, &codes, sizeof(codes));
  }
  return done;
}

/// `count` codes under one scale with a reciprocal.
template <DType kFloat, DType kStorage>
[[gnu::flatten]] void quantize_by(const void* base, int64_t index,
                                  int64_t count, float scale, uint8_t* data) {
  using E = Element<kFloat>;
  if constexpr (kStorage != DType::kInt8) {
    const int64_t done =
        quantize_words<kStorage>(base, index, count, scale, data);
    index += done;
    count -= done;
  }
  const Vec reciprocal = broadcast(1.0F / scale);
  for_each_vector(count, [&](int64_t i, auto lanes) {
    look_ahead<size_of(kFloat)>(base, index + i);
    const Vec quotient = mul(E::load(base, index + i, lanes), reciprocal);
    IVec code;
    if constexpr (kStorage == DType::kInt8) {
      code = to_int(round_quotient<kFloat>(
          min(broadcast(127.0F), max(broadcast(-128.0F), quotient))));
    } else {
      code = symmetric_code<kStorage>(E::round(quotient));
    }
    store_u8(data + index + i, code, lanes);
  });
}

/// `count` codes under the scale at `place`.
template <DType kFloat, DType kStorage, typename Place>
[[gnu::flatten]] void quantize_piece(const void* base, int64_t index,
                                     int64_t count, const void* scales,
                                     Place place, uint8_t* data) {
  using E = Element<kFloat>;
  if constexpr (kByReciprocal<kFloat, kStorage> &&
                std::is_same_v<Place, OneScale>) {
    const float scale = first_lane(E::load(scales, place.index, Same{}));
    if (has_reciprocal(scale)) {
      quantize_by<kFloat, kStorage>(base, index, count, scale, data);
      return;
    }
  }
  const auto load = [&](int64_t i, auto lanes) {
    return E::load(scales, i, lanes);
  };
  with_scale(place, load, [&](auto scale_at) {
    for_each_vector(count, [&](int64_t i, auto lanes) {
      look_ahead<size_of(kFloat)>(base, index + i);
      const Vec scale = scale_at(i, lanes);
      const Vec x = E::load(base, index + i, lanes);
      const IVec code = symmetric_code<kStorage>(E::round(div(x, scale)));
      const Mask no_scale = equal(scale, zero());
      store_u8(data + index + i, select(no_scale, ibroadcast(0), code), lanes);
    });
  });
}

void quantize_symmetric(const void* base, DType dtype, AxisView view,
                        const void* scale, DType storage, void* data,
                        Executor& executor) {
  with_float(dtype, [&](auto type) {
    with_storage(storage, [&](auto stored) {
      for_each_scaled_piece(
          view, executor, [&](int64_t index, int64_t count, auto place) {
            quantize_piece<decltype(type)::value, decltype(stored)::value>(
                base, index, count, scale, place, static_cast<uint8_t*>(data));
          });
    });
  });
}

/// The largest code of a storage type.
template <DType kStorage>
constexpr float largest_code() {
  if constexpr (kStorage == DType::kInt8) {
    return 127.0F;
  } else {
    return Float8Format<kStorage>::kMax;
  }
}

/// `count` codes under the scale that the run's largest element asks for.
template <DType kFloat, DType kStorage>
[[gnu::flatten]] float quantize_row(const void* base, int64_t index,
                                    int64_t count, uint8_t* data) {
  using E = Element<kFloat>;
  typename Keys<kFloat>::Lanes largest{};
  fold_magnitudes<kFloat>(base, index, count, largest);
  const float scale =
      largest_magnitude<kFloat>(largest) / largest_code<kStorage>();
  if (scale == 0.0F) {
    __builtin_memset(data + index, 0, static_cast<size_t>(count));
    return scale;
  }
  for_each_vector(count, [&](int64_t i, auto lanes) {
    const Vec x = E::load(base, index + i, lanes);
    const IVec code = symmetric_code<kStorage>(div(x, broadcast(scale)));
    store_u8(data + index + i, code, lanes);
  });
  return scale;
}

void quantize_rows(const void* base, DType dtype, int64_t rows, int64_t columns,
                   DType storage, void* data, float* scale,
                   Executor& executor) {
  with_float(dtype, [&](auto type) {
    with_storage(storage, [&](auto stored) {
      executor.parallel_for(
          rows, grain_of(columns), [&](int64_t begin, int64_t end) {
            for (int64_t row = begin; row < end; ++row) {
              scale[row] =
                  quantize_row<decltype(type)::value, decltype(stored)::value>(
                      base, row * columns, columns,
                      static_cast<uint8_t*>(data));
            }
          });
    });
  });
}

struct AffineArgs {
  const void* scale;
  const void* shift;
  float largest;
};

/// `count` codes under one scale with a reciprocal.
template <typename Scheme>
inline void quantize_affine_by(const AffineArgs& args, const void* base,
                               int64_t index, int64_t count, float scale,
                               Vec shift, uint8_t* codes) {
  constexpr int64_t kLanes = Vec::kLanes;
  const Vec reciprocal = broadcast(1.0F / scale);
  const Vec largest = broadcast(args.largest);
  const auto quotient = [&](int64_t i, auto lanes) {
    look_ahead<Scheme::kBytes>(base, index + i);
    return Scheme::quotient_by(
        Element<Scheme::kType>::load(base, index + i, lanes), reciprocal, shift,
        largest);
  };
  int64_t done = 0;
  for (; done + 4 * kLanes <= count; done += 4 * kLanes) {
    const auto code = [&](int64_t i) {
      return to_int(quotient(done + i * kLanes, All{}));
    };
    store_clamped_u8(codes + done, code(0), code(1), code(2), code(3));
  }
  for_each_vector(count - done, [&](int64_t i, auto lanes) {
    // In this order of operands NaN passes; as an integer its low byte is 0.
    const Vec code = max(zero(), quotient(done + i, lanes));
    store_u8(codes + done + i, to_int(code), lanes);
  });
}

/// `count` codes under the scheme at `place`.
template <typename Scheme, typename Place>
[[gnu::flatten]] void quantize_affine_piece(const AffineArgs& args,
                                            const void* base, int64_t index,
                                            int64_t count, Place place,
                                            uint8_t* codes) {
  if constexpr (Scheme::kBytes == 2 && std::is_same_v<Place, OneScale>) {
    const float scale =
        first_lane(Scheme::load_scale(args.scale, place.index, Same{}));
    if (has_reciprocal(scale)) {
      const Vec shift = Scheme::load_shift(args.shift, place.index, Same{});
      quantize_affine_by<Scheme>(args, base, index, count, scale, shift, codes);
      return;
    }
  }
  const Vec largest = broadcast(args.largest);
  with_scheme<Scheme>(
      args.scale, args.shift, place, [&](auto scale_at, auto shift_at) {
        for_each_vector(count, [&](int64_t i, auto lanes) {
          look_ahead<Scheme::kBytes>(base, index + i);
          const Vec x = Element<Scheme::kType>::load(base, index + i, lanes);
          const IVec code = Scheme::quantize(x, scale_at(i, lanes),
                                             shift_at(i, lanes), largest);
          store_u8(codes + i, code, lanes);
        });
      });
}

/// Last axis in groups: the codes do not lie as the base does.
template <typename Scheme>
void quantize_transposed(const AffineArgs& args, const void* base,
                         const GroupLayout& layout, uint8_t* codes,
                         Executor& executor) {
  for_each_transposed_piece(
      layout, executor, [&](const TransposedPiece& piece) {
        const int64_t count = piece.channels * layout.groups;
        const int64_t row = piece.channel * layout.groups;
        auto* rows = reinterpret_cast<char*>(
            executor.scratch(static_cast<size_t>(count) * Scheme::kBytes));
        transpose<Scheme::kBytes, true>(layout, piece,
                                        static_cast<const char*>(base), rows);
        quantize_affine_piece<Scheme>(
            args, rows, 0, count, ScalePerColumn{row},
            codes + layout.code_index(row, piece.item));
      });
}

void quantize_affine(const void* base, DType dtype, GroupLayout layout,
                     int bits, const void* scale, const void* shift,
                     ShiftKind kind, uint8_t* codes, Executor& executor) {
  const auto largest = static_cast<float>((1 << bits) - 1);
  const AffineArgs args = {scale, shift, largest};
  with_affine(dtype, kind, [&](auto* scheme) {
    using Scheme = std::remove_pointer_t<decltype(scheme)>;
    if (layout.last_axis && layout.groups > 1) {
      quantize_transposed<Scheme>(args, base, layout, codes, executor);
      return;
    }
    for_each_scaled_piece(in_place_view(layout), executor,
                          [=](int64_t index, int64_t count, auto place) {
                            quantize_affine_piece<Scheme>(
                                args, base, index, count, place, codes + index);
                          });
  });
}

}  // namespace

QuantizeTable QUANTO_FOR_ISA(quantize)() {
  return {quantize_symmetric, quantize_rows, quantize_affine};
}

}  // namespace quanto::kernels
