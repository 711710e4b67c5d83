// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <quanto/nn/embedding.h>
#include <quanto/nn/linear.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/pimpl.h>

#include "config.h"

// A Llama decoder, its modules named as those of transformers, whose operations
// it repeats one by one. Hidden states are (1, tokens, hidden_size).

/// Keys and values of the tokens so far: (1, heads, tokens, head_dim) each, the
/// first `length` of which are filled.
struct Cache {
  torch::Tensor keys, values;
  int64_t length = 0;
};

/// Cosine and sine of each position's angles, (tokens, head_dim).
struct Rotation {
  torch::Tensor cosine, sine;
};

class RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(int64_t size, double epsilon);
  torch::Tensor forward(const torch::Tensor& hidden);

 private:
  torch::Tensor weight_;
  double epsilon_;
};
TORCH_MODULE(RmsNorm);

class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const Config& config);
  torch::Tensor forward(const torch::Tensor& hidden, const Rotation& rotation,
                        Cache& cache);

 private:
  int64_t head_dim_;
  quanto::nn::Linear q_proj_, k_proj_, v_proj_, o_proj_;
};
TORCH_MODULE(Attention);

class MlpImpl : public torch::nn::Module {
 public:
  explicit MlpImpl(const Config& config);
  torch::Tensor forward(const torch::Tensor& hidden);

 private:
  quanto::nn::Linear gate_proj_, up_proj_, down_proj_;
};
TORCH_MODULE(Mlp);

class DecoderLayerImpl : public torch::nn::Module {
 public:
  explicit DecoderLayerImpl(const Config& config);
  torch::Tensor forward(const torch::Tensor& hidden, const Rotation& rotation,
                        Cache& cache);

 private:
  Attention self_attn_;
  Mlp mlp_;
  RmsNorm input_layernorm_, post_attention_layernorm_;
};
TORCH_MODULE(DecoderLayer);

class DecoderImpl : public torch::nn::Module {
 public:
  explicit DecoderImpl(const Config& config);
  torch::Tensor forward(const torch::Tensor& tokens,
                        std::vector<Cache>& caches);
  [[nodiscard]] const quanto::nn::Embedding& embeddings() const {
    return embed_tokens_;
  }

 private:
  [[nodiscard]] Rotation rotation(int64_t first, int64_t count,
                                  at::ScalarType dtype) const;

  Config config_;
  quanto::nn::Embedding embed_tokens_;
  torch::nn::ModuleList layers_;
  RmsNorm norm_;
};
TORCH_MODULE(Decoder);

class LlamaImpl : public torch::nn::Module {
 public:
  explicit LlamaImpl(const Config& config);

  /// Room for this many tokens.
  [[nodiscard]] std::vector<Cache> make_caches(int64_t tokens) const;

  /// The logits (tokens, vocab_size) of these tokens, which follow those in the
  /// caches and are added to them.
  torch::Tensor forward(const torch::Tensor& tokens,
                        std::vector<Cache>& caches);

 private:
  Config config_;
  Decoder model_;
  quanto::nn::Linear lm_head_{nullptr};  ///< null: the embeddings' weight
};
TORCH_MODULE(Llama);
