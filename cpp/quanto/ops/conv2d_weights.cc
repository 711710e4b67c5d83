// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/conv2d_weights.h"

#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/dispatch.h"

namespace quanto::ops {

using kernels::LinearArgs;
using kernels::ShiftKind;

GroupWeights::GroupWeights(const ConvCall& call, Executor& executor)
    : problem_(call.problem),
      weight_(call.weight),
      groups_(call.conv.groups),
      data_(static_cast<const std::byte*>(call.weight.data.const_data_ptr())),
      rows_(problem_.n / groups_ * (problem_.k / problem_.group_size)) {
  const int bits = qtype(problem_.weight).bits;
  data_bytes_ = bits == 8 ? problem_.n / groups_ * problem_.k
                          : packed_rows(rows_, bits) * problem_.group_size;
  if (bits < 8 && groups_ > 1) pack_groups(bits, executor);
}

void GroupWeights::set(int64_t group, LinearArgs* args) const {
  const int64_t scale_bytes = size_of(problem_.scale);
  const int64_t first = group * rows_;
  args->data = data_ + group * data_bytes_;
  args->scale = static_cast<const std::byte*>(weight_.scale.const_data_ptr()) +
                (problem_.per_tensor ? 0 : first * scale_bytes);
  args->shift = nullptr;
  if (problem_.shift != ShiftKind::kNone) {
    const bool integer = problem_.shift == ShiftKind::kInteger;
    args->shift = static_cast<const std::byte*>(weight_.shift_data()) +
                  first * (integer ? 1 : scale_bytes);
  }
}

void GroupWeights::pack_groups(int bits, Executor& executor) {
  const auto& table = kernels::kernels();
  const int64_t columns = problem_.group_size;
  const int64_t planes = packed_rows(groups_ * rows_, bits);
  const Temporary codes(
      static_cast<size_t>(planes * codes_per_byte(bits) * columns));
  auto* bytes = reinterpret_cast<uint8_t*>(codes.data());
  table.unpack(reinterpret_cast<const uint8_t*>(data_), planes, columns, bits,
               bytes, executor);
  packed_ = Temporary(static_cast<size_t>(groups_ * data_bytes_));
  auto* packed = reinterpret_cast<uint8_t*>(packed_.data());
  for (int64_t group = 0; group < groups_; ++group) {
    table.pack(bytes + group * rows_ * columns, rows_, columns, bits,
               packed + group * data_bytes_, executor);
  }
  data_ = packed_.data();
}

}  // namespace quanto::ops
