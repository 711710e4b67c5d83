// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "quanto/cli/output.h"
#include "quanto/cli/selection.h"
#include "quanto/core/executor.h"
#include "quanto/io/checkpoint.h"
#include "quanto/io/json.h"

namespace quanto::cli {

/// The quantized checkpoint: its files, as steps that run on `executor` when
/// they are written, and its config with a quantization_config; null for none.
/// `wanted` is the type that was asked for, if one was. `checkpoint` must
/// outlive the result.
Output quantized_output(const io::Checkpoint& checkpoint,
                        const io::Json& config, const Selection& selection,
                        std::optional<QTypeId> wanted, Executor& executor);

}  // namespace quanto::cli
