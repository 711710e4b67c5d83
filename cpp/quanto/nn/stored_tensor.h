// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <string_view>

#include "quanto/formats/stored.h"

namespace quanto::nn {

/// The name of torch's element type in files, or "" for one that they have not.
std::string_view file_type_of(at::ScalarType type);

/// The tensor, in the memory of the mapping, which it holds. One that is not
/// aligned to its elements, as files of others may have them, is a copy: torch
/// expects aligned ones. Throws std::invalid_argument for a type that torch
/// does not have; `name` is for the message.
at::Tensor mapped_tensor(const std::string& name,
                         const formats::StoredTensor& stored,
                         const std::shared_ptr<const void>& owner);

/// The tensor to write, brought to the CPU and into rows at its turn.
formats::NewTensor new_tensor(std::string name, const at::Tensor& tensor);

}  // namespace quanto::nn
