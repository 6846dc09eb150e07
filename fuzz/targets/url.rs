//! LOCATION, CALLBACK and the URLs of a description. A URL taken is one we write and read back unchanged.
#![no_main]
use libfuzzer_sys::fuzz_target;
use upnp::url::HttpUrl;

fuzz_target!(|text: &str| {
    if let Ok(url) = HttpUrl::parse(text) {
        assert_eq!(HttpUrl::parse(&url.to_string()).as_ref(), Ok(&url));
    }
    let base = HttpUrl::new(([192, 0, 2, 1], 80).into(), "/a/b?c");
    if let Ok(url) = base.join(text) {
        assert_eq!(url.address().ip(), base.address().ip());
    }
});
