//! One query to one server: what it says, and how there is no answer.

use std::net::UdpSocket;
use std::time::Duration;

use resolver::probe::{NoAnswer, Way, ask};
use resolver::wire::NXDOMAIN;

use crate::name_server::{Act, NameServer, a, aaaa};

const SOON: Duration = Duration::from_millis(300);

#[tokio::test]
async fn an_answer_has_its_addresses_and_a_cut_one_is_whole_over_tcp() {
    let server = NameServer::start(|question, _| match question.name[1] {
        b'c' => Act::Cut,
        b'u' => Act::Unknown,
        _ => Act::Address(7, 60),
    })
    .await;
    for way in [Way::Edns, Way::Plain, Way::Tcp] {
        let answer = ask(server.address, &a("proxy.test"), way, SOON).await.unwrap();
        assert_eq!(answer.addresses().len(), 1, "{way:?}");
        assert!(answer.addresses()[0].is_ipv4());
    }
    let six = ask(server.address, &aaaa("proxy.test"), Way::Edns, SOON).await.unwrap();
    assert!(six.addresses().iter().all(std::net::IpAddr::is_ipv6));
    let cut = ask(server.address, &a("cut.test"), Way::Edns, SOON).await.unwrap();
    assert!(cut.truncated && cut.addresses().is_empty());
    let whole = ask(server.address, &a("cut.test"), Way::Tcp, SOON).await.unwrap();
    assert_eq!(whole.addresses().len(), 1);
    assert_eq!(ask(server.address, &a("unknown.test"), Way::Edns, SOON).await.unwrap().rcode, NXDOMAIN);
}

#[tokio::test]
async fn silence_and_a_closed_port_are_distinguished() {
    let server = NameServer::start(|_, _| Act::Silent).await;
    assert_eq!(ask(server.address, &a("proxy.test"), Way::Edns, SOON).await, Err(NoAnswer::Silent));
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for way in [Way::Edns, Way::Tcp] {
        assert_eq!(ask(closed, &a("proxy.test"), way, SOON).await, Err(NoAnswer::Refused), "{way:?}");
    }
}
