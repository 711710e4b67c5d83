// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/modules/embedding.h>
#include <torch/nn/pimpl.h>

#include <string>
#include <string_view>

#include "quanto/nn/module.h"

namespace quanto::nn {

/// torch::nn::Embedding that quantize() can switch to a quantized weight, one
/// scale (or row of groups) per embedding, where `include` names it. The output
/// is float: activations are not quantized here. Options, members and parameter
/// names are torch's; max_norm, sparse and scale_grad_by_freq work while it is
/// float and keep it so.
class EmbeddingImpl final
    : public Quantizable<torch::nn::Cloneable<EmbeddingImpl>> {
 public:
  EmbeddingImpl(int64_t num_embeddings, int64_t embedding_dim)
      : EmbeddingImpl(
            torch::nn::EmbeddingOptions(num_embeddings, embedding_dim)) {}
  explicit EmbeddingImpl(torch::nn::EmbeddingOptions given);
  /// Shares the parameter of a torch layer.
  explicit EmbeddingImpl(const torch::nn::EmbeddingImpl& layer);

  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;

  /// The embeddings of these indices, int64 or int32: (*, embedding_dim), in
  /// the dtype of the weight.
  at::Tensor forward(const at::Tensor& indices);

  static const LayerKind kKind;
  [[nodiscard]] const LayerKind& kind() const override { return kKind; }
  [[nodiscard]] std::string obstacle() const override;
  /// The same of a layer with these options.
  static std::string_view obstacle_of(
      const torch::nn::EmbeddingOptions& options);

  torch::nn::EmbeddingOptions options;
  at::Tensor weight;  ///< undefined when frozen

 protected:
  at::Tensor& weight_member() override { return weight; }
};

/// As torch::nn::Embedding, with its from_pretrained().
class Embedding : public torch::nn::ModuleHolder<EmbeddingImpl> {
 public:
  using torch::nn::ModuleHolder<EmbeddingImpl>::ModuleHolder;
  using Impl = EmbeddingImpl;

  static Embedding from_pretrained(
      const at::Tensor& embeddings,
      const torch::nn::EmbeddingFromPretrainedOptions& options = {});
};

}  // namespace quanto::nn
