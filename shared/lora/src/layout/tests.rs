use proptest::prelude::*;

use super::*;

fn check(name: &str, layout: Layout, module: &str, part: Part) {
    let expected = Key { layout, module: module.to_owned(), part };
    assert_eq!(parse(name), Some(expected), "{name}");
}

const Q: &str = "transformer_blocks.3.attn1.to_q";
const OUT: &str = "transformer_blocks.3.attn1.to_out.0";

#[test]
fn every_layout_names_the_same_layer() {
    for (name, layout) in [
        ("transformer.transformer_blocks.3.attn1.to_q.lora_A.weight", Layout::Diffusers),
        ("base_model.model.transformer_blocks.3.attn1.to_q.lora_A.weight", Layout::Peft),
        (
            "base_model.model.transformer.transformer_blocks.3.attn1.to_q.lora_A.weight",
            Layout::Peft,
        ),
        ("transformer_blocks.3.attn1.to_q.lora_A.weight", Layout::Unprefixed),
        ("transformer_blocks.3.attn1.to_q.lora_A.default.weight", Layout::Unprefixed),
        ("diffusion_model.transformer_blocks.3.attn1.to_q.lora_A.weight", Layout::DiffusionModel),
        ("transformer.transformer_blocks.3.attn1.to_q.lora.down.weight", Layout::OldDiffusers),
        (
            "transformer.transformer_blocks.3.attn1.processor.to_q_lora.down.weight",
            Layout::OldDiffusers,
        ),
        ("transformer_blocks.3.attn1.to_q.lora_linear_layer.down.weight", Layout::OldDiffusers),
        ("lora_unet__transformer_blocks_3_attn1_to_q.lora_down.weight", Layout::Kohya),
        ("lora_unet_transformer_blocks_3_attn1_to_q.lora_down.weight", Layout::Kohya),
        (
            "model.diffusion_model.transformer.layers.3.attention.query_key_value.matrix_A.0",
            Layout::Sat,
        ),
        ("transformer.layers.3.attention.query_key_value.matrix_A.0", Layout::Sat),
    ] {
        check(name, layout, Q, Part::A);
    }
    for (name, layout) in [
        ("transformer.transformer_blocks.3.attn1.to_out.0.lora_B.weight", Layout::Diffusers),
        (
            "transformer.transformer_blocks.3.attn1.processor.to_out_lora.up.weight",
            Layout::OldDiffusers,
        ),
        ("transformer.transformer_blocks.3.attn1.to_out.0.lora.up.weight", Layout::OldDiffusers),
        ("lora_unet__transformer_blocks_3_attn1_to_out_0.lora_up.weight", Layout::Kohya),
        ("model.diffusion_model.transformer.layers.3.attention.dense.matrix_B.0", Layout::Sat),
    ] {
        check(name, layout, OUT, Part::B);
    }
}

#[test]
fn biases_alphas_and_magnitudes_are_parts_of_their_layer() {
    for (ending, part) in [
        ("lora_B.bias", Part::Bias),
        ("lora_B.default.bias", Part::Bias),
        ("alpha", Part::Alpha),
        ("lora.alpha", Part::Alpha),
        ("dora_scale", Part::Magnitude),
        ("lora_magnitude_vector", Part::Magnitude),
        ("lora_magnitude_vector.weight", Part::Magnitude),
        ("lora_magnitude_vector.default.weight", Part::Magnitude),
    ] {
        let key = parse(&format!("transformer.{Q}.{ending}")).unwrap();
        assert_eq!((key.module.as_str(), key.part), (Q, part), "{ending}");
    }
    check("lora_unet__proj_out.alpha", Layout::Kohya, "proj_out", Part::Alpha);
    check("lora_unet__proj_out.dora_scale", Layout::Kohya, "proj_out", Part::Magnitude);
}

#[test]
fn every_layer_with_a_matrix_is_known_dotted_and_flat() {
    for layer in [
        "patch_embed.proj",
        "patch_embed.text_proj",
        "time_embedding.linear_1",
        "time_embedding.linear_2",
        "ofs_embedding.linear_1",
        "ofs_embedding.linear_2",
        "transformer_blocks.41.norm1.linear",
        "transformer_blocks.41.norm2.linear",
        "transformer_blocks.41.ff.net.0.proj",
        "transformer_blocks.41.ff.net.2",
        "norm_out.linear",
        "proj_out",
    ] {
        check(&format!("transformer.{layer}.lora_B.weight"), Layout::Diffusers, layer, Part::B);
        let flat = layer.replace('.', "_");
        check(&format!("lora_unet__{flat}.lora_up.weight"), Layout::Kohya, layer, Part::B);
    }
}

#[test]
fn what_is_no_part_of_a_lora_for_cogvideox_is_not_taken_for_one() {
    for name in [
        "",
        "transformer.",
        "transformer.transformer_blocks.0.attn1.to_q.weight",
        "transformer.transformer_blocks.01.attn1.to_q.lora_A.weight",
        "transformer.transformer_blocks.+1.attn1.to_q.lora_A.weight",
        "transformer.transformer_blocks.0.attn2.to_q.lora_A.weight",
        "transformer.transformer_blocks.0.attn1.norm_q.lora_A.weight",
        "transformer.transformer_blocks.0.attn1.to_q.lora_A.bias",
        "transformer.transformer_blocks.0.attn1.to_q.lora_A..weight",
        "transformer.transformer_blocks.0.attn1.to_q.lora_A.a.b.weight",
        "transformer.transformer_blocks.0.attn1.to_q.lora_embedding_A",
        "transformer.transformer_blocks.0.attn1.to_q.lora_mid.weight",
        "lora_unet_down_blocks_0_attentions_0.lora_down.weight",
        "transformer.layers.0.attention.query_key_value.matrix_A.3",
        "transformer.layers.0.attention.dense.matrix_A.1",
        "transformer.patch_embed.pos_embedding.lora_A.weight",
    ] {
        assert_eq!(parse(name), None, "{name}");
    }
    assert!(is_text_encoder("text_encoder.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight"));
    assert!(is_text_encoder("lora_te_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight"));
    assert!(!is_text_encoder("lora_unet__patch_embed_text_proj.lora_down.weight"));
}

proptest! {
    #[test]
    fn any_name_is_understood_or_not_without_a_panic(
        name in "(transformer\\.|lora_unet__|base_model\\.model\\.|layers\\.)*[a-z_.0-9]{0,40}(\\.lora_A|\\.alpha|_lora\\.up|\\.matrix_B)?[.a-zé]{0,12}",
    ) {
        let _ = parse(&name);
        let _ = is_text_encoder(&name);
    }
}
