// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/module.h>

#include <string>

namespace quanto {

/// Writes a model to a safetensors file that describes itself
/// (docs/formats.md): its parameters and buffers by their names, the
/// quantization map and the facts of every quantized weight. A tensor with
/// several names is stored once. The file is written beside `path` and renamed
/// there: a model that is mapped from the file can be saved to it.
///
/// Throws std::invalid_argument, before anything is written, for a layer that
/// is quantized but not frozen and for elements that the format does not have;
/// std::runtime_error if the file cannot be written.
void save(torch::nn::Module& model, const std::string& path);

/// Gives a model the tensors of a checkpoint: a file, or a folder with
/// model.safetensors or shards and their index, written here, by Python or by
/// the command line. Its layers must be quantized as the map of the checkpoint
/// says, frozen or not; they are frozen then. requantize() quantizes them.
///
/// On the CPU nothing is copied: tensors share the mapping of the file, which
/// lives as long as they do, and take their dtypes from it. What is written to
/// them stays in this process. Elsewhere they go where the model's first
/// parameter is. A file may be replaced while it is mapped, by a rename; one
/// that is written over or cut off takes the process with it.
///
/// Throws std::runtime_error for a file that is missing or not what it should
/// be; std::invalid_argument, in one message, for what is missing, unexpected
/// or misshapen. The model is unchanged then.
void load(torch::nn::Module& model, const std::string& path);

/// load() of a model that may still be float: its layers become quantized as
/// the checkpoint says, those of torch::nn inside a Sequential too. Throws
/// std::invalid_argument also for a layer that cannot be quantized so.
void requantize(torch::nn::Module& model, const std::string& path);

}  // namespace quanto
