// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/core/executor.h"
#include "quanto/ops/conv2d_run.h"

namespace quanto::ops {

/// Each group's outputs as a weight of their own. Rows of packed codes of
/// several groups share bytes, so these are packed anew.
class GroupWeights {
 public:
  GroupWeights(const ConvCall& call, Executor& executor);

  /// Sets the weight in `args`.
  void set(int64_t group, kernels::LinearArgs* args) const;

 private:
  void pack_groups(int bits, Executor& executor);

  const kernels::LinearProblem& problem_;
  const WeightMemory& weight_;
  int64_t groups_;
  const std::byte* data_;
  int64_t rows_;        ///< of scales and packed codes, in a group
  int64_t data_bytes_;  ///< of a group
  Temporary packed_;
};

}  // namespace quanto::ops
