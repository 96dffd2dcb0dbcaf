//! How a server is named: `grpc://127.0.0.1:50051`, `grpc+tls://ads.example.com:50051`, `https://ads.example.com:8080`.

use std::fmt;

use crate::cli::failure::Failure;

const PLAIN: [&str; 3] = ["grpc://", "grpc+tcp://", "http://"];
const TLS: [&str; 3] = ["grpc+tls://", "grpcs://", "https://"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    None,
    Tls,
}

/// Where a server listens and whether the connection is encrypted. Prints as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    text: String,
    pub encryption: Encryption,
    /// Without the brackets of IPv6.
    pub host: String,
    pub port: u16,
}

impl ServerUrl {
    /// # Errors
    /// Text of another form; `example` shows the right one, its port is the default.
    pub fn parse(text: &str, example: &str, default_port: u16) -> Result<Self, Failure> {
        let wrong = || {
            Failure::usage(format!("'{text}' is not a server URL")).with_hint(format!("write a URL such as {example}"))
        };
        let stripped = |schemes: [&str; 3]| schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        let (encryption, rest) = match (stripped(PLAIN), stripped(TLS)) {
            (Some(rest), _) => (Encryption::None, rest),
            (None, Some(rest)) => (Encryption::Tls, rest),
            (None, None) => return Err(wrong()),
        };
        // A scheme without a default port of its own: 80 and 443 stay what they are.
        let parsed = url::Url::parse(&format!("adlake://{rest}")).map_err(|_| wrong())?;
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { text: text.to_owned(), encryption, host, port: parsed.port().unwrap_or(default_port) })
    }

    /// `host:port`, as HTTP's `Host` and gRPC's authority want it.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Encryption, String), String> {
        let parsed = ServerUrl::parse(text, "grpc://127.0.0.1:50051", 50051);
        parsed.map(|url| (url.encryption, url.authority())).map_err(|failure| failure.message())
    }

    #[test]
    fn urls_are_read() {
        for (text, encryption, authority) in [
            ("grpc://h:1", Encryption::None, "h:1"),
            ("grpc://127.0.0.1", Encryption::None, "127.0.0.1:50051"),
            ("grpc+tcp://h:80", Encryption::None, "h:80"),
            ("http://h:80/", Encryption::None, "h:80"),
            ("grpc://[::1]:7/", Encryption::None, "[::1]:7"),
            ("grpc+tls://ads.example.com", Encryption::Tls, "ads.example.com:50051"),
            ("grpcs://h:443", Encryption::Tls, "h:443"),
            ("https://[::1]:443", Encryption::Tls, "[::1]:443"),
        ] {
            assert_eq!(parse(text), Ok((encryption, authority.to_owned())), "{text}");
        }
        for wrong in ["h:1", "grpc://", "ftp://h:1", "grpc+tls://", "grpc://h:99999", "grpcs:h"] {
            assert!(parse(wrong).unwrap_err().contains("is not a server URL"), "{wrong}");
        }
    }
}
