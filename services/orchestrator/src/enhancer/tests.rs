use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::*;

/// What the endpoint does with a request.
enum Reply {
    /// Answers with this status and body.
    Says(u16, String),
    /// Says nothing and waits until the other side leaves, which it tells.
    Waits(Sender<()>),
    /// Closes at once.
    Closes,
    /// A body without an end.
    Endless,
}

/// The description that a good answer holds.
const LONG: &str = "A red fox trots through fresh snow at dusk.";

fn good(content: &str) -> Reply {
    let answer =
        serde_json::json!({"choices": [{"message": {"role": "assistant", "content": content}}]});
    Reply::Says(200, answer.to_string())
}

/// An endpoint that replies so to one request after another, and what was sent to it.
fn endpoint(replies: Vec<Reply>) -> (EnhancerArgs, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (sender, seen) = channel();
    thread::spawn(move || {
        for reply in replies {
            let (stream, _) = listener.accept().unwrap();
            let _ = sender.send(request(&stream));
            answer(stream, reply);
        }
    });
    let prompt_enhancer = Some(url.parse().unwrap());
    (EnhancerArgs { prompt_enhancer, ..EnhancerArgs::default() }, seen)
}

/// Head and body.
fn request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0);
    }
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
    });
    let mut body = vec![0; length.unwrap()];
    reader.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn answer(mut stream: TcpStream, reply: Reply) {
    match reply {
        Reply::Says(status, body) => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
        }
        Reply::Waits(left) => {
            // An end of the stream, or a reset of it.
            let _ = stream.read(&mut [0]);
            let _ = left.send(());
        }
        Reply::Closes => {}
        Reply::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            while stream.write_all(&[b' '; 4096]).is_ok() {}
        }
    }
}

fn enhancer(args: &EnhancerArgs) -> Enhancer {
    Enhancer::with_key(args, None).unwrap().unwrap()
}

async fn enhanced(replies: Vec<Reply>) -> (Result<String, EnhancerError>, usize) {
    let (args, seen) = endpoint(replies);
    let result = enhancer(&args).enhance("a fox", 100).await;
    (result, seen.try_iter().count())
}

/// The connection is closed by a task of the runtime, which goes on meanwhile.
async fn leaves_in_time(leaves: Receiver<()>) {
    let patience = Duration::from_secs(60);
    tokio::task::spawn_blocking(move || leaves.recv_timeout(patience)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_prompt_is_written_out() {
    let (result, asked) = enhanced(vec![good(LONG)]).await;
    assert_eq!((result.unwrap().as_str(), asked), (LONG, 1));
}

#[tokio::test]
async fn the_key_is_sent_as_bearer_and_shown_nowhere() {
    const KEY: &str = "sk-sEcReT";
    let (args, seen) = endpoint(vec![good(LONG), Reply::Says(401, KEY.to_owned())]);
    let enhancer = Enhancer::with_key(&args, Some((KEYS[0], KEY.to_owned()))).unwrap().unwrap();
    enhancer.enhance("a fox", 100).await.unwrap();
    let request = seen.recv().unwrap();
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1"), "{request}");
    assert!(request.contains(&format!("authorization: Bearer {KEY}")), "{request}");
    assert!(!format!("{enhancer:?}").contains(KEY), "{enhancer:?}");
    let error = enhancer.enhance("a fox", 100).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
    let odd = Enhancer::with_key(&args, Some((KEYS[0], "a\nb".to_owned()))).unwrap_err();
    assert!(odd.to_string().starts_with(KEYS[0]) && !odd.to_string().contains("a\n"), "{odd}");
}

#[tokio::test]
async fn what_may_pass_is_tried_three_times() {
    let busy = || Reply::Says(500, String::new());
    let (result, asked) = enhanced(vec![busy(), good(LONG)]).await;
    assert_eq!((result.unwrap().as_str(), asked), (LONG, 2));
    let (result, asked) = enhanced(vec![Reply::Closes, good(""), good(LONG)]).await;
    assert_eq!((result.unwrap().as_str(), asked), (LONG, 3));
    let (result, asked) = enhanced(vec![busy(), busy(), busy()]).await;
    assert!(result.unwrap_err().to_string().contains("500"));
    assert_eq!(asked, 3);
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    for status in [400, 401, 403, 404, 302] {
        let (result, asked) = enhanced(vec![Reply::Says(status, String::new())]).await;
        assert!(result.unwrap_err().to_string().contains(&status.to_string()));
        assert_eq!(asked, 1);
    }
    let nobody = endpoint(Vec::new()).0;
    assert!(matches!(enhancer(&nobody).enhance(" \n", 100).await, Err(EnhancerError::Blank)));
}

#[tokio::test]
async fn nonsense_is_refused_whatever_its_size() {
    for reply in [|| good(&"a".repeat(101)), || Reply::Says(200, "{".to_owned()), || Reply::Endless]
    {
        let (result, asked) = enhanced(vec![reply(), reply(), reply()]).await;
        assert!(matches!(result, Err(EnhancerError::Nonsense(_))), "{result:?}");
        assert_eq!(asked, 3);
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_left_in_time() {
    let (left, leaves) = channel();
    let (args, _seen) = endpoint(vec![Reply::Waits(left)]);
    let enhancer = Enhancer { time: Duration::from_millis(50), ..enhancer(&args) };
    let result = enhancer.enhance("a fox", 100).await;
    assert!(matches!(result, Err(EnhancerError::Time(_))), "{result:?}");
    leaves_in_time(leaves).await;
}

#[tokio::test]
async fn dropping_it_closes_the_connection() {
    let (left, leaves) = channel();
    let (args, seen) = endpoint(vec![Reply::Waits(left)]);
    let enhancing = tokio::spawn(async move { enhancer(&args).enhance("a fox", 100).await });
    tokio::task::spawn_blocking(move || seen.recv()).await.unwrap().unwrap();
    enhancing.abort();
    assert!(enhancing.await.unwrap_err().is_cancelled());
    leaves_in_time(leaves).await;
}

#[tokio::test]
async fn nobody_there_is_told_without_saying_where() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let prompt_enhancer = Some(format!("http://{address}").parse().unwrap());
    let args = EnhancerArgs { prompt_enhancer, ..EnhancerArgs::default() };
    let error = enhancer(&args).enhance("a fox", 100).await.unwrap_err().to_string();
    assert!(!error.contains(&address.port().to_string()), "{error}");
    let expected = "the endpoint cannot be reached (--prompt-enhancer): connection refused";
    assert_eq!(error, expected);
}

#[tokio::test]
async fn what_a_refusal_is_about_most_likely_is_told() {
    const KEY: &str = "sk-sEcReT";
    for (status, key, expected) in [
        (
            401,
            Some(KEYS[0]),
            "401 Unauthorized: it does not accept the key in COGWHEEL_PROMPT_ENHANCER_KEY",
        ),
        (403, Some(KEYS[1]), "403 Forbidden: it does not accept the key in OPENAI_API_KEY"),
        (
            401,
            None,
            "401 Unauthorized: it expects a key, in COGWHEEL_PROMPT_ENHANCER_KEY or OPENAI_API_KEY, found none",
        ),
        (
            404,
            None,
            "404 Not Found: expected chat completions at --prompt-enhancer, of the model that --prompt-enhancer-model names",
        ),
        (
            400,
            None,
            "400 Bad Request: it may expect the name of a model that it has, in --prompt-enhancer-model",
        ),
        (
            307,
            None,
            "307 Temporary Redirect: expected the URL that this leads to in --prompt-enhancer, since a key goes to no other",
        ),
        (418, None, "418 I'm a teapot"),
    ] {
        let (args, _seen) = endpoint(vec![Reply::Says(status, String::new())]);
        let key = key.map(|name| (name, KEY.to_owned()));
        let enhancer = Enhancer::with_key(&args, key).unwrap().unwrap();
        let error = enhancer.enhance("a fox", 100).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the endpoint answered {expected}"));
    }
}

#[tokio::test]
async fn a_server_that_is_no_such_endpoint_is_told() {
    let page = || Reply::Says(200, "<html>Welcome</html>".to_owned());
    let (result, _) = enhanced(vec![page(), page(), page()]).await;
    let expected = "expected a prompt, found no answer of chat completions (--prompt-enhancer)";
    assert_eq!(result.unwrap_err().to_string(), expected);
}
