use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<LoraConfig, AdapterError> {
    LoraConfig::parse(Path::new("x"), METADATA, text.as_bytes(), "transformer.")
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_first_pattern_that_matches_a_layers_end_decides() {
    let config = parse(
        r#"{"transformer.lora_alpha": 8, "transformer.r": 16, "transformer.use_rslora": true,
            "transformer.alpha_pattern": {"^transformer_blocks.0.attn1.to_q": 1, "to_q": 2.5, "attn1.to_q": 9,
            "transformer_blocks\\.[23]\\.ff\\.net\\.\\d": 3, "o_k": 4}, "text_encoder.r": 0}"#,
    )
    .unwrap();
    assert_eq!((config.lora_alpha, config.r, config.use_rslora), (Some(8.0), Some(16), true));
    for (module, alpha) in [
        ("transformer_blocks.0.attn1.to_q", Some(1.0)),
        ("transformer_blocks.1.attn1.to_q", Some(2.5)),
        ("transformer_blocks.2.ff.net.2", Some(3.0)),
        ("transformer_blocks.2.ff.net.0.proj", None),
        ("transformer_blocks.0.attn1.to_k", None),
        ("proj_out", None),
    ] {
        assert_eq!(config.alpha_pattern.get(module), alpha, "{module}");
    }
}

#[test]
fn what_is_computed_in_another_way_is_refused() {
    for (text, expected) in [
        (
            r#"{"transformer.peft_type": "LOHA"}"#,
            "x: lora_adapter_metadata: peft_type: expected LORA, found LOHA",
        ),
        (
            r#"{"transformer.use_qalora": true}"#,
            "x: lora_adapter_metadata: use_qalora: expected false, found true",
        ),
        (
            r#"{"transformer.layer_replication": [[0, 1]]}"#,
            "x: lora_adapter_metadata: layer_replication: expected nothing, found [[0,1]]",
        ),
    ] {
        assert_eq!(refusal(text), expected);
    }
    assert!(
        parse(r#"{"transformer.layer_replication": [], "transformer.use_bdlora": false}"#).is_ok()
    );
}

#[test]
fn values_of_another_kind_are_refused() {
    for text in [
        "",
        "[]",
        "{",
        r#"{"transformer.r": 0}"#,
        r#"{"transformer.r": -1}"#,
        r#"{"transformer.r": 1e30}"#,
        r#"{"transformer.lora_alpha": 0}"#,
        r#"{"transformer.lora_alpha": "8"}"#,
        r#"{"transformer.use_dora": 1}"#,
        r#"{"transformer.alpha_pattern": []}"#,
        r#"{"transformer.alpha_pattern": {"to_q": -1}}"#,
        r#"{"transformer.alpha_pattern": {"(to_q": 1}}"#,
        r#"{"transformer.alpha_pattern": {"a{1000}{1000}{1000}": 1}}"#,
        r#"{"transformer.target_modules": [1]}"#,
        r#"{"transformer.target_modules": 1}"#,
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    let many: Vec<String> = (0..MANY).map(|i| format!(r#""to_q|{i}": 1"#)).collect();
    let found = refusal(&format!(r#"{{"transformer.alpha_pattern": {{{}}}}}"#, many.join(",")));
    assert!(found.contains("at most 64 regular expressions"), "{found}");
    let long = format!(r#"{{"transformer.x": "{}"}}"#, "x".repeat(LIMIT));
    assert!(refusal(&long).contains("JSON of at most 1 MiB"));
    assert!(parse(&"[".repeat(100_000)).is_err());
}

/// More expressions than are compiled.
const MANY: usize = 100;

proptest! {
    #[test]
    fn any_json_is_read_or_refused_without_a_panic(
        key in "(r|lora_alpha|use_dora|alpha_pattern|target_modules|peft_type|bogus)",
        value in "(null|true|-?[0-9]{1,25}(\\.[0-9]+)?(e[0-9]{1,4})?|\"[a-z\\[({^$.*]{0,8}\"|\\[\"a\"\\]|\\{\"[a-z\\[({^.*|é]{0,12}\": [0-9]\\}|\\{)",
    ) {
        if let Ok(config) = parse(&format!(r#"{{"transformer.{key}": {value}}}"#)) {
            let _ = config.alpha_pattern.get("transformer_blocks.0.attn1.to_q");
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = LoraConfig::parse(Path::new("x"), "the file", &bytes, "");
    }
}
