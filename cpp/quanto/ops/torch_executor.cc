// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/torch_executor.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>

namespace quanto::ops {

int TorchExecutor::threads() const {
  return std::max(1, static_cast<int>(torch::stable::get_num_threads()));
}

// torch rounds the number of tasks up, so that a range may be shorter than the
// grain: the ranges are cut here and torch is given one task for each.
void TorchExecutor::parallel_for(int64_t count, int64_t grain, Body body) {
  if (count <= 0) return;
  const int64_t most = count / std::max<int64_t>(grain, 1);
  const int64_t tasks = most > 1 ? std::min<int64_t>(most, threads()) : 1;
  if (tasks == 1) {
    body(0, count);
    return;
  }
  const int64_t length = (count + tasks - 1) / tasks;
  torch::stable::parallel_for(0, tasks, 1, [&](int64_t first, int64_t last) {
    const int64_t begin = first * length;
    const int64_t end = std::min(count, last * length);
    if (begin < end) body(begin, end);
  });
}

}  // namespace quanto::ops
