// SPDX-License-Identifier: Apache-2.0
#include <limits>
#include <type_traits>

#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/affine.h"
#include "quanto/kernels/cpu/float8_words.h"
#include "quanto/kernels/cpu/lookup.h"
#include "quanto/kernels/cpu/tables.h"
#include "quanto/kernels/cpu/walk.h"

namespace quanto::kernels {
namespace {

/// Codes as fp32.
template <DType kStorage, typename Lanes>
inline Vec load_codes(const uint8_t* data, Lanes lanes) {
  if constexpr (kStorage == DType::kInt8) {
    return to_float(load_s8(reinterpret_cast<const int8_t*>(data), lanes));
  } else {
    return decode_float8<kStorage>(load_bytes(data, lanes));
  }
}

/// Two vectors of codes as fp32, times kWordScale if they are float8.
template <DType kStorage>
inline void load_two(const uint8_t* data, Vec& low, Vec& high) {
  if constexpr (kStorage == DType::kInt8) {
    low = load_codes<kStorage>(data, All{});
    high = load_codes<kStorage>(data + Vec::kLanes, All{});
  } else {
    const Words words = decode_words<kStorage>(load_words(data));
    Halves halves[2];
    __builtin_memcpy(halves, &words, sizeof(words));
    low = from_fp16(halves[0]);
    high = from_fp16(halves[1]);
  }
}

/// As many elements as fill pairs of vectors, under one scale; how many that
/// was: none if what they are multiplied by is not finite.
template <DType kFloat, DType kStorage>
inline int64_t dequantize_pairs(const uint8_t* data, int64_t index,
                                int64_t count, float scale, void* out) {
  float factor = scale;
  if constexpr (kStorage != DType::kInt8) factor /= kWordScale<kStorage>;
  if (!(__builtin_fabsf(factor) <= std::numeric_limits<float>::max())) return 0;
  constexpr int64_t kCount = 2 * Vec::kLanes;
  int64_t done = 0;
  for (; done + kCount <= count; done += kCount) {
    look_ahead<1>(data, index + done);
    Vec low, high;
    load_two<kStorage>(data + index + done, low, high);
    Element<kFloat>::store_two(out, index + done, mul(broadcast(factor), low),
                               mul(broadcast(factor), high));
  }
  return done;
}

/// `count` elements under the scale at `place`.
template <DType kFloat, DType kStorage, typename Place>
[[gnu::flatten]] void dequantize_piece(const uint8_t* data, int64_t index,
                                       int64_t count, const void* scales,
                                       Place place, void* out) {
  using E = Element<kFloat>;
  const auto load = [&](int64_t i, auto lanes) {
    return E::load(scales, i, lanes);
  };
  if constexpr (std::is_same_v<Place, OneScale>) {
    const float scale = first_lane(load(place.index, Same{}));
    const int64_t done =
        dequantize_pairs<kFloat, kStorage>(data, index, count, scale, out);
    index += done;
    count -= done;
  }
  with_scale(place, load, [&](auto scale_at) {
    for_each_vector(count, [&](int64_t i, auto lanes) {
      look_ahead<1>(data, index + i);
      const Vec code = load_codes<kStorage>(data + index + i, lanes);
      E::store(out, index + i, mul(scale_at(i, lanes), code), lanes);
    });
  });
}

void dequantize_symmetric(const void* data, DType storage, AxisView view,
                          const void* scale, DType dtype, void* out,
                          Executor& executor) {
  with_float(dtype, [&](auto type) {
    with_storage(storage, [&](auto stored) {
      for_each_scaled_piece(
          view, executor, [&](int64_t index, int64_t count, auto place) {
            dequantize_piece<decltype(type)::value, decltype(stored)::value>(
                static_cast<const uint8_t*>(data), index, count, scale, place,
                out);
          });
    });
  });
}

/// A packed code matrix, and its scales and shifts.
struct PackedArgs {
  const uint8_t* packed;
  GroupLayout layout;
  int bits;
  const void* scale;
  const void* shift;

  [[nodiscard]] int64_t packed_rows() const {
    return quanto::packed_rows(layout.code_rows(), bits);
  }
};

/// One plane of `count` packed bytes, under the scheme at `place`, to the
/// elements of `out` from `index` on.
template <typename Scheme, typename Place>
[[gnu::flatten]] void dequantize_plane(const PackedArgs& args, int64_t bytes,
                                       int64_t plane, int64_t count,
                                       Place place, void* out, int64_t index) {
  const IVec shift_count = ibroadcast(static_cast<int>(plane) * args.bits);
  const IVec mask = ibroadcast((1 << args.bits) - 1);
  with_scheme<Scheme>(
      args.scale, args.shift, place, [&](auto scale_at, auto shift_at) {
        for_each_vector(count, [&](int64_t i, auto lanes) {
          look_ahead<1>(args.packed, bytes + i);
          const IVec packed = load_u8(args.packed + bytes + i, lanes);
          const IVec code = iand(shift_right(packed, shift_count), mask);
          const Vec weight =
              Scheme::dequantize(code, scale_at(i, lanes), shift_at(i, lanes));
          Element<Scheme::kType>::store(out, index + i, weight, lanes);
        });
      });
}

/// What each code stands for under the scheme of a group.
template <typename Scheme>
inline Lookup lookup_of(const PackedArgs& args, int64_t group) {
  alignas(32) constexpr uint8_t kCodes[kLookupEntries] = {
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  alignas(32) uint16_t entries[kLookupEntries];
  const Vec scale = Scheme::load_scale(args.scale, group, Same{});
  const Vec shift = Scheme::load_shift(args.shift, group, Same{});
  for_each_vector(kLookupEntries, [&](int64_t i, auto lanes) {
    const IVec code = load_u8(kCodes + i, lanes);
    Element<Scheme::kType>::store(
        entries, i, Scheme::dequantize(code, scale, shift), lanes);
  });
  return make_lookup(entries);
}

/// One plane of `count` packed bytes of one group, as dequantize_plane() does.
template <typename Scheme>
inline void dequantize_group(const PackedArgs& args, int64_t bytes,
                             int64_t plane, int64_t count, int64_t group,
                             void* out, int64_t index) {
  int64_t done = 0;
  if constexpr (Scheme::kBytes == 2) {
    if (count >= Codes::kCount) {
      const Lookup table = lookup_of<Scheme>(args, group);
      const int shift = static_cast<int>(plane) * args.bits;
      const int mask = (1 << args.bits) - 1;
      for (; done + Codes::kCount <= count; done += Codes::kCount) {
        look_ahead<1>(args.packed, bytes + done);
        look_up(table, load_codes(args.packed + bytes + done, shift, mask),
                Element<Scheme::kType>::at(out, index + done));
      }
    }
  }
  if (done < count) {
    dequantize_plane<Scheme>(args, bytes + done, plane, count - done,
                             OneScale{group}, out, index + done);
  }
}

/// Packed bytes [begin, end) of a weight that lies as its codes do. Part of a
/// packed row holds the same part of one row in each plane. `args` is a copy:
/// the compiler need not fear that results change it.
template <typename Scheme>
[[gnu::flatten]] void dequantize_bytes(PackedArgs args, int64_t begin,
                                       int64_t end, void* out) {
  const int64_t rows = args.layout.code_rows();
  const int64_t columns = args.layout.code_columns();
  const int64_t packed_rows = args.packed_rows();
  for_each_piece(
      begin, end, columns,
      [&](int64_t packed_row, int64_t column, int64_t count) {
        const int64_t bytes = packed_row * columns + column;
        int64_t plane = 0;
        for (int64_t row = packed_row; row < rows; row += packed_rows) {
          const int64_t index = row * columns + column;
          if (args.layout.last_axis) {
            dequantize_plane<Scheme>(args, bytes, plane, count,
                                     ScalePerColumn{column}, out, index);
          } else {
            dequantize_group<Scheme>(args, bytes, plane, count, row, out,
                                     index);
          }
          ++plane;
        }
      });
}

/// Last axis in groups: the weight does not lie as its codes do.
template <typename Scheme>
void dequantize_transposed(const PackedArgs& args, void* out,
                           Executor& executor) {
  const GroupLayout& layout = args.layout;
  const int64_t packed_rows = args.packed_rows();
  for_each_transposed_piece(
      layout, executor, [&](const TransposedPiece& piece) {
        const int64_t count = piece.channels * layout.groups;
        const int64_t row = piece.channel * layout.groups;
        const int64_t packed_row = piece.item % packed_rows;
        auto* rows = reinterpret_cast<char*>(
            executor.scratch(static_cast<size_t>(count) * Scheme::kBytes));
        dequantize_plane<Scheme>(args, layout.code_index(row, packed_row),
                                 piece.item / packed_rows, count,
                                 ScalePerColumn{row}, rows, 0);
        transpose<Scheme::kBytes, false>(layout, piece, rows,
                                         static_cast<char*>(out));
      });
}

void dequantize_affine(const uint8_t* packed, GroupLayout layout, int bits,
                       const void* scale, const void* shift, ShiftKind kind,
                       DType dtype, void* out, Executor& executor) {
  const PackedArgs args = {packed, layout, bits, scale, shift};
  with_affine(dtype, kind, [&](auto* scheme) {
    using Scheme = std::remove_pointer_t<decltype(scheme)>;
    if (layout.last_axis && layout.groups > 1) {
      dequantize_transposed<Scheme>(args, out, executor);
    } else {
      executor.parallel_for(args.packed_rows() * layout.code_columns(), kGrain,
                            [&](int64_t begin, int64_t end) {
                              dequantize_bytes<Scheme>(args, begin, end, out);
                            });
    }
  });
}

}  // namespace

DequantizeTable QUANTO_FOR_ISA(dequantize)() {
  return {dequantize_symmetric, dequantize_affine};
}

}  // namespace quanto::kernels
