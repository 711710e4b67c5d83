// SPDX-License-Identifier: Apache-2.0
#include "llama.h"

#include <torch/types.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

quanto::nn::Linear linear(int64_t inputs, int64_t outputs, bool bias) {
  return quanto::nn::Linear(
      torch::nn::LinearOptions(inputs, outputs).bias(bias));
}

/// (-second half, first half) of the last dimension.
torch::Tensor rotate_half(const torch::Tensor& heads) {
  const auto halves = heads.chunk(2, -1);
  return torch::cat({-halves[1], halves[0]}, -1);
}

torch::Tensor rotated(const torch::Tensor& heads, const Rotation& rotation) {
  return heads * rotation.cosine + rotate_half(heads) * rotation.sine;
}

/// Puts new entries behind those that are there; all of them.
torch::Tensor append(torch::Tensor& all, const torch::Tensor& more,
                     int64_t length) {
  const int64_t count = more.size(2);
  all.narrow(2, length, count).copy_(more);
  return all.narrow(2, 0, length + count);
}

}  // namespace

RmsNormImpl::RmsNormImpl(int64_t size, double epsilon)
    : weight_(register_parameter("weight", torch::ones({size}))),
      epsilon_(epsilon) {}

torch::Tensor RmsNormImpl::forward(const torch::Tensor& hidden) {
  const torch::Tensor wide = hidden.to(torch::kFloat32);
  const torch::Tensor variance = wide.pow(2).mean(-1, /*keepdim=*/true);
  const torch::Tensor normed = wide * torch::rsqrt(variance + epsilon_);
  return weight_ * normed.to(hidden.scalar_type());
}

AttentionImpl::AttentionImpl(const Config& config)
    : head_dim_(config.head_dim),
      q_proj_(register_module(
          "q_proj", linear(config.hidden_size,
                           config.num_attention_heads * config.head_dim,
                           config.attention_bias))),
      k_proj_(register_module(
          "k_proj", linear(config.hidden_size,
                           config.num_key_value_heads * config.head_dim,
                           config.attention_bias))),
      v_proj_(register_module(
          "v_proj", linear(config.hidden_size,
                           config.num_key_value_heads * config.head_dim,
                           config.attention_bias))),
      o_proj_(register_module(
          "o_proj", linear(config.num_attention_heads * config.head_dim,
                           config.hidden_size, config.attention_bias))) {}

torch::Tensor AttentionImpl::forward(const torch::Tensor& hidden,
                                     const Rotation& rotation, Cache& cache) {
  const int64_t count = hidden.size(1);
  const auto heads = [&](const torch::Tensor& projected) {
    return projected.view({1, count, -1, head_dim_}).transpose(1, 2);
  };
  const auto query = rotated(heads(q_proj_->forward(hidden)), rotation);
  const auto key = rotated(heads(k_proj_->forward(hidden)), rotation);
  const auto value = heads(v_proj_->forward(hidden));
  const int64_t past = cache.length;
  const auto keys = append(cache.keys, key, past);
  const auto values = append(cache.values, value, past);
  cache.length = past + count;
  if (past > 0 && count > 1) {
    throw std::invalid_argument(
        "Llama: expected one token after the prompt, got " +
        std::to_string(count));
  }
  const auto mixed = torch::scaled_dot_product_attention(
      query, keys, values, /*attn_mask=*/{}, /*dropout_p=*/0.0,
      /*is_causal=*/count > 1, 1.0 / std::sqrt(static_cast<double>(head_dim_)),
      /*enable_gqa=*/true);
  return o_proj_->forward(
      mixed.transpose(1, 2).contiguous().reshape({1, count, -1}));
}

MlpImpl::MlpImpl(const Config& config)
    : gate_proj_(register_module(
          "gate_proj", linear(config.hidden_size, config.intermediate_size,
                              config.mlp_bias))),
      up_proj_(register_module(
          "up_proj", linear(config.hidden_size, config.intermediate_size,
                            config.mlp_bias))),
      down_proj_(register_module(
          "down_proj", linear(config.intermediate_size, config.hidden_size,
                              config.mlp_bias))) {}

torch::Tensor MlpImpl::forward(const torch::Tensor& hidden) {
  return down_proj_->forward(torch::silu(gate_proj_->forward(hidden)) *
                             up_proj_->forward(hidden));
}

DecoderLayerImpl::DecoderLayerImpl(const Config& config)
    : self_attn_(register_module("self_attn", Attention(config))),
      mlp_(register_module("mlp", Mlp(config))),
      input_layernorm_(register_module(
          "input_layernorm", RmsNorm(config.hidden_size, config.rms_norm_eps))),
      post_attention_layernorm_(
          register_module("post_attention_layernorm",
                          RmsNorm(config.hidden_size, config.rms_norm_eps))) {}

torch::Tensor DecoderLayerImpl::forward(const torch::Tensor& hidden,
                                        const Rotation& rotation,
                                        Cache& cache) {
  const torch::Tensor attended =
      hidden +
      self_attn_->forward(input_layernorm_->forward(hidden), rotation, cache);
  return attended + mlp_->forward(post_attention_layernorm_->forward(attended));
}

DecoderImpl::DecoderImpl(const Config& config)
    : config_(config),
      embed_tokens_(register_module(
          "embed_tokens",
          quanto::nn::Embedding(config.vocab_size, config.hidden_size))),
      layers_(register_module("layers", torch::nn::ModuleList())),
      norm_(register_module("norm",
                            RmsNorm(config.hidden_size, config.rms_norm_eps))) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layers_->push_back(DecoderLayer(config));
  }
}

Rotation DecoderImpl::rotation(int64_t first, int64_t count,
                               at::ScalarType dtype) const {
  const auto floats = torch::TensorOptions(torch::kFloat32);
  const torch::Tensor exponents =
      torch::arange(0, config_.head_dim, 2, floats) /
      static_cast<double>(config_.head_dim);
  const torch::Tensor frequencies =
      1.0 / torch::pow(config_.rope_theta, exponents);
  const torch::Tensor positions = torch::arange(first, first + count, floats);
  const torch::Tensor angles = positions.unsqueeze(1) * frequencies;
  const torch::Tensor both = torch::cat({angles, angles}, -1);
  return {both.cos().to(dtype), both.sin().to(dtype)};
}

torch::Tensor DecoderImpl::forward(const torch::Tensor& tokens,
                                   std::vector<Cache>& caches) {
  torch::Tensor hidden = embed_tokens_->forward(tokens.unsqueeze(0));
  const Rotation angles =
      rotation(caches.front().length, tokens.size(0), hidden.scalar_type());
  for (size_t i = 0; i < caches.size(); ++i) {
    hidden =
        layers_[i]->as<DecoderLayerImpl>()->forward(hidden, angles, caches[i]);
  }
  return norm_->forward(hidden);
}

LlamaImpl::LlamaImpl(const Config& config)
    : config_(config), model_(register_module("model", Decoder(config))) {
  if (!config.tie_word_embeddings) {
    lm_head_ = register_module(
        "lm_head", linear(config.hidden_size, config.vocab_size, false));
  }
}

std::vector<Cache> LlamaImpl::make_caches(int64_t tokens) const {
  const auto dtype = model_->parameters().front().scalar_type();
  std::vector<Cache> caches(static_cast<size_t>(config_.num_hidden_layers));
  for (Cache& cache : caches) {
    const std::vector<int64_t> shape{1, config_.num_key_value_heads, tokens,
                                     config_.head_dim};
    cache.keys = torch::empty(shape, dtype);
    cache.values = torch::empty(shape, dtype);
  }
  return caches;
}

torch::Tensor LlamaImpl::forward(const torch::Tensor& tokens,
                                 std::vector<Cache>& caches) {
  const torch::Tensor hidden = model_->forward(tokens, caches).squeeze(0);
  if (!lm_head_.is_empty()) return lm_head_->forward(hidden);
  const torch::Tensor weight = model_->embeddings()->weight;
  if (!weight.defined()) {
    throw std::invalid_argument(
        "Llama: expected a float weight that embeddings and head share, got a "
        "quantized one");
  }
  return torch::linear(hidden, weight);
}
