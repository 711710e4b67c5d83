// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/kernels.h"

namespace quanto::kernels {

const LinearVariant& plan_linear(const KernelTable& table,
                                 const LinearProblem& problem) {
  int64_t i = 0;
  while (i + 1 < table.linear_count && !table.linear[i].supports(problem)) ++i;
  return table.linear[i];
}

}  // namespace quanto::kernels
