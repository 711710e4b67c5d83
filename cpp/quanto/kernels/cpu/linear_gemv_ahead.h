// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_input.h"

// What is asked for ahead of the work while a GEMV reads weights.

namespace quanto::kernels {
namespace {

/// Weight rows (rows of bytes) that are one unit of work.
constexpr int kUnitRows = 8;

constexpr int64_t kCacheLine = 64;

/// How far ahead of the work memory is asked for at least, where rows are
/// short.
constexpr int64_t kWeightBytesAhead = 8192;

/// Called for the bytes [i, i + bytes) of each of kRows rows, k apart: asks for
/// as many bytes of the kRows rows after them, in the order in which they lie.
/// To the hardware's prefetcher that is one stream, which no end of a row
/// breaks; the rows themselves would be kRows short ones. A prefetch past the
/// end of the weight does nothing.
template <int kRows>
inline void prefetch_rows(const uint8_t* data, int64_t k, int64_t i,
                          int64_t bytes) {
  const uint8_t* begin =
      data + larger(kRows * k, kWeightBytesAhead) + kRows * i;
  for (int64_t b = 0; b < kRows * bytes; b += kCacheLine) {
    __builtin_prefetch(begin + b);
  }
}

/// Asks for the scales and shifts of a unit while the products of the one
/// before are summed. Those of each plane are a piece of their own, and pieces
/// come one after the other: where they lie a large power of two apart, lines
/// of them in turns wait for the same bank of memory.
class ScalesAhead {
 public:
  /// The rows of bytes from `first` on, of `plane_rows` in each plane.
  void start(const LinearProblem& problem, const LinearArgs& args, int planes,
             int64_t plane_rows, int64_t first) {
    const int64_t groups = problem.k / problem.group_size;
    const int64_t scale_bytes = problem.scale == DType::kFloat32 ? 4 : 2;
    const int64_t shift_bytes =
        problem.shift == ShiftKind::kInteger ? 1 : scale_bytes;
    Piece* piece = pieces_;
    const auto add = [&](const void* data, int64_t bytes) {
      for (int j = 0; j < planes; ++j) {
        const auto* begin = static_cast<const uint8_t*>(data) +
                            (j * plane_rows + first) * groups * bytes;
        *piece++ = {begin, begin + kUnitRows * groups * bytes};
      }
    };
    add(args.scale, scale_bytes);
    add(args.shift, shift_bytes);
    now_ = pieces_[0];
    next_ = pieces_ + 1;
    last_ = piece;
    group_bytes_ = planes * (scale_bytes + shift_bytes);
  }

  /// The share of kGroups groups of bytes of kPlanes planes.
  template <int kPlanes, int kGroups>
  void ask() {
    if (now_.begin >= now_.end) {
      if (next_ == last_) return;
      now_ = *next_++;
    }
    constexpr int kMostBytes = kGroups * kPlanes * 2 * sizeof(float);
    QUANTO_UNROLL for (int b = 0; b < kMostBytes; b += kCacheLine) {
      __builtin_prefetch(now_.begin + b);
    }
    now_.begin += kGroups * group_bytes_;
  }

 private:
  static constexpr int kMostPlanes = 4;
  struct Piece {
    const uint8_t* begin;
    const uint8_t* end;
  };
  Piece now_;
  const Piece* next_;
  const Piece* last_;
  int64_t group_bytes_;
  Piece pieces_[2 * kMostPlanes];
};

}  // namespace
}  // namespace quanto::kernels
