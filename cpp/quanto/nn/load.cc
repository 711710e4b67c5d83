// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/reload.h"
#include "quanto/nn/serialize.h"

namespace quanto {

void load(torch::nn::Module& model, const std::string& path) {
  const formats::StoredCheckpoint stored = formats::open_checkpoint(path);
  nn::Reload reload(model, "load", stored);
  reload.check_quantized();
  reload.check_tensors();
  reload.apply();
}

void requantize(torch::nn::Module& model, const std::string& path) {
  const formats::StoredCheckpoint stored = formats::open_checkpoint(path);
  nn::Reload reload(model, "requantize", stored);
  reload.check_tensors();
  reload.apply();
}

}  // namespace quanto
