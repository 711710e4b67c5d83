// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/core/executor.h"

namespace quanto::ops {

/// torch's intra-op threads (torch.set_num_threads). Inside one of torch's own
/// parallel regions everything runs on the calling thread.
class TorchExecutor final : public Executor {
 public:
  [[nodiscard]] int threads() const override;
  void parallel_for(int64_t count, int64_t grain, Body body) override;
};

}  // namespace quanto::ops
