// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/torch_executor.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "quanto/core/range_queue.h"

namespace quanto::ops {

int TorchExecutor::threads() const {
  return std::max(1, static_cast<int>(torch::stable::get_num_threads()));
}

void TorchExecutor::parallel_for(int64_t count, int64_t grain, Body body) {
  if (count <= 0) return;
  const int64_t most = count / std::max<int64_t>(grain, 1);
  const int64_t tasks = std::min<int64_t>(most, threads());
  if (tasks <= 1) {
    body(0, count);
    return;
  }
  RangeQueue ranges(count, grain, static_cast<int>(tasks));
  torch::stable::parallel_for(0, tasks, 1,
                              [&](int64_t, int64_t) { drain(ranges, body); });
}

}  // namespace quanto::ops
