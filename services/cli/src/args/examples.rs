//! What stands below each command's help, at most 100 columns wide. A test reads every command here as a command line.

pub(super) const COGWHEEL: &str = "\
Examples:
  cogwheel doctor --model CogVideoX-2b/
  cogwheel generate --model CogVideoX-2b/ --prompt 'a panda playing the guitar' --output panda.mp4
  cogwheel serve --model CogVideoX-2b/ --adapter-dir loras/";

pub(super) const GENERATE: &str = "\
Examples:
  A video, and the same again from what it says of itself:
    cogwheel generate --model CogVideoX-2b/ --prompt 'a panda playing the guitar' --output panda.mp4
    cogwheel generate --model CogVideoX-2b/ --from panda.mp4 --output again.mp4
  With two adapters mixed, beside the model as it is:
    cogwheel generate --model CogVideoX-2b/ --prompt 'a panda' --output panda.gif \\
        --lora dance/,scale=0.8 --lora ink.safetensors --compare
  By a server that has the model and the adapter:
    cogwheel generate --endpoint http://127.0.0.1:50051 --adapter dance=0.8 \\
        --prompt 'a panda' --output panda.mp4
  With a model that `cogwheel models pull` has fetched:
    cogwheel generate --model zai-org/CogVideoX-2b --prompt 'a panda' --output panda.mp4
  With the prompt written out by a language model of this machine first:
    cogwheel generate --model CogVideoX-2b/ --prompt 'a panda' --output panda.mp4 \\
        --prompt-enhancer http://127.0.0.1:8080/v1
  One for each line of a file; a second run goes on where the first was cut off:
    cogwheel generate --model CogVideoX-2b/ --prompt-file prompts.txt --output clips/a.mp4";

pub(super) const SERVE: &str = "\
Examples:
  cogwheel serve --model CogVideoX-2b/
  cogwheel serve --model CogVideoX-2b/ --listen 0.0.0.0:50051 --adapter-dir loras/ --data-dir state/
  cogwheel serve --model CogVideoX-2b/ --adapter-dir loras/ --pin dance=0.8 \\
      --variant-cache variants/";

pub(super) const MODELS: &str = "\
Examples:
  cogwheel models pull zai-org/CogVideoX-2b
  cogwheel models list
  cogwheel models show zai-org/CogVideoX-2b
  cogwheel models show CogVideoX-2b/
  cogwheel models show CogVideoX-2b/ --json";

pub(super) const ADAPTERS: &str = "\
Examples:
  cogwheel adapters show dance/ --model CogVideoX-2b/
  cogwheel adapters add dance/ --name dance --endpoint http://127.0.0.1:50051
  cogwheel adapters list --endpoint http://127.0.0.1:50051
  cogwheel adapters remove dance --endpoint http://127.0.0.1:50051
  cogwheel adapters merge --model CogVideoX-2b/ --lora dance/,scale=0.8 --output merged/";

pub(super) const MERGE: &str = "\
Examples:
  A folder for the place of transformer/ in a copy of the checkpoint, here and in diffusers:
    cogwheel adapters merge --model CogVideoX-2b/ --lora dance/,scale=0.8 --output merged/
  What a server would merge at its start, made before it starts:
    cogwheel adapters merge --model CogVideoX-2b/ --lora dance/ --variant-cache variants/";

pub(super) const DOCTOR: &str = "\
Examples:
  cogwheel doctor
  cogwheel doctor --model CogVideoX-2b/ --listen 0.0.0.0:50051 --memory-limit 24GiB";

pub(super) const COMPLETIONS: &str = "\
Examples:
  cogwheel completions bash > ~/.local/share/bash-completion/completions/cogwheel
  cogwheel completions zsh > ~/.zfunc/_cogwheel";
