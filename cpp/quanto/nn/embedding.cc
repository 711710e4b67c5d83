// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/embedding.h"

#include <torch/nn/functional/embedding.h>
#include <torch/nn/init.h>

#include <utility>

#include "quanto/nn/check.h"
#include "quanto/nn/functional.h"

namespace quanto::nn {

EmbeddingImpl::EmbeddingImpl(torch::nn::EmbeddingOptions given)
    : options(std::move(given)) {
  EmbeddingImpl::reset();
}

EmbeddingImpl::EmbeddingImpl(const torch::nn::EmbeddingImpl& layer)
    : options(layer.options) {
  options._weight({});
  weight =
      register_parameter("weight", layer.weight, layer.weight.requires_grad());
  train(layer.is_training());
}

void EmbeddingImpl::reset() {
  const int64_t rows = options.num_embeddings();
  if (auto padding = options.padding_idx()) {
    nn::check(*padding >= -rows && *padding < rows,
              "Embedding: expected padding_idx within ", rows,
              " embeddings, got ", *padding);
    options.padding_idx(*padding < 0 ? *padding + rows : *padding);
  }
  const std::vector<int64_t> size = {rows, options.embedding_dim()};
  const at::Tensor given = options._weight();
  // The clone of a layer must not take the tensor of the original.
  options._weight({});
  if (!given.defined()) {
    weight = register_parameter("weight", torch::empty(size));
    reset_parameters();
  } else {
    nn::check(given.sizes() == size, "Embedding: expected weights of shape ",
              at::IntArrayRef(size), ", got ", given.sizes());
    weight = register_parameter("weight", given);
  }
  restore();
}

void EmbeddingImpl::reset_parameters() {
  torch::nn::init::normal_(weight);
  if (auto padding = options.padding_idx()) {
    const at::NoGradGuard no_grad;
    weight[*padding].fill_(0);
  }
}

void EmbeddingImpl::pretty_print(std::ostream& stream) const {
  stream << "quanto::nn::Embedding(num_embeddings=" << options.num_embeddings()
         << ", embedding_dim=" << options.embedding_dim();
  if (auto padding = options.padding_idx()) {
    stream << ", padding_idx=" << *padding;
  }
  stream << ")";
}

const LayerKind EmbeddingImpl::kKind{.name = "Embedding",
                                     .quantizes_weight = true,
                                     .only_when_named = true,
                                     .quantizes_input = false,
                                     .quantizes_activations = false};

std::string_view EmbeddingImpl::obstacle_of(
    const torch::nn::EmbeddingOptions& options) {
  if (options.max_norm()) {
    return "max_norm changes the weight in every forward";
  }
  if (options.sparse()) return "sparse gradients are not supported";
  if (options.scale_grad_by_freq()) {
    return "scale_grad_by_freq gradients are not supported";
  }
  return {};
}

std::string EmbeddingImpl::obstacle() const {
  return std::string(obstacle_of(options));
}

at::Tensor EmbeddingImpl::forward(const at::Tensor& indices) {
  if (!quantized()) {
    return torch::nn::functional::detail::embedding(
        indices, weight, options.padding_idx(), options.max_norm(),
        options.norm_type(), options.scale_grad_by_freq(), options.sparse());
  }
  return with_weight([&](const QWeight& codes) {
    return functional::embedding(indices, codes, trained(),
                                 options.padding_idx().value_or(-1));
  });
}

Embedding Embedding::from_pretrained(
    const at::Tensor& embeddings,
    const torch::nn::EmbeddingFromPretrainedOptions& options) {
  check(embeddings.dim() == 2,
        "Embedding: expected embeddings of 2 dimensions, got ",
        embeddings.dim());
  Embedding result(
      torch::nn::EmbeddingOptions(embeddings.size(0), embeddings.size(1))
          ._weight(embeddings)
          .padding_idx(options.padding_idx())
          .max_norm(options.max_norm())
          .norm_type(options.norm_type())
          .scale_grad_by_freq(options.scale_grad_by_freq())
          .sparse(options.sparse()));
  result->weight.set_requires_grad(!options.freeze());
  return result;
}

}  // namespace quanto::nn
