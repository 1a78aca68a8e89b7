"""URLs that outsiders name."""

from ipaddress import ip_address

import pytest

from libs.security.url_guard import FILES, UrlRefusedError, check_address, guarded_url, networks


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ocsp.example.com",
        "//ocsp.example.com",
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "http://",
        "http://:80/",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://exa mple.com/",
        "http://example.com/\r\nX: 1",
        "http://example.com\\@127.0.0.1/",
        "http://ex\u00e4mple.com/",
        "http://[::1/",
        "http://" + "a" * 2000,
        "http://127.0.0.1/",
        "http://127.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.0.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[::1]/",
        "http://[::]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://[ff02::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fec0::1]/",
        "http://[feff::1]/",
        "http://[2002:808:808::1]/",
        "http://[64:ff9b::808:808]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://[::ffff:8.8.8.8]/",
        "http://[::ffff:0:7f00:1]/",
        "http://[::7f00:1]/",
        "http://[2001:0:7f00:1::]/",
        "http://[2001:db8::1]/",
        "http://[3fff::1]/",
        "http://[100::1]/",
        "http://[5f00::1]/",
        "http://192.88.99.1/",
        "http://192.0.0.8/",
        "http://198.18.0.1/",
        "http://240.0.0.1/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://localhost.localdomain/",
        "http://localhost.localdomain./",
        "http://127.0.0.1.nip.io/",
        "http://app.127-0-0-1.sslip.io/",
        "http://8.8.8.8.nip.io/",
        "http://127.0.0.1.example.com/",
        "http://a-10-1-2-3.b.example.com/",
        "http://10-1-2-3.example.com/",
        "http://localtest.me/",
        "http://x.lvh.me/",
        "http://127.0.0.1%2e/",
        "http://127.0.0.1%2E/",
        "http://%6cocalhost/",
        "http://8.8.8.8%00.evil.com/",
        "http://8.8.8.8%00.evil",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://METADATA.google.INTERNAL/",
        "http://metadata/",
        "http://minio:9000/",
        "http://printer.local/",
        "http://router.home.arpa/",
        "http://files.example/",
        "http://files.test/",
        "http://[v1.x]/",
        "http://[v1.fe80::a]/",
        "http://[fe80::1%25eth0]/",
        "http://[::1%25lo]/",
        "http://[::ffff:7f00:1]/",
        "http://[127.0.0.1]/",
        "http://example.com../",
        "http://.example.com/",
        "http://exa_mple.com/",
        "http://-a.example.com/",
        "http://a-.example.com/",
        "http://example.c/",
        "http://example.com:/x:80:90",
        "http://example.com:80:90/",
        "http://" + "a." * 127 + "example.com/",
        "http://" + "a" * 64 + ".com/",
        "http:/10.0.0.1/",
        "http:10.0.0.1",
        "http:///10.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://127.0.0.1.:80/",
        "http://017700000001/",
        "http://1.1.1.1@10.0.0.1/",
        "http://example.com:80@10.0.0.1/",
        "ftp://example.com/a%0d%0aDELE%20x",
        "http://example.com/%00",
        "http://example.com/%7F",
        "http://a.localhost/",
    ],
)
def test_what_is_malformed_or_leads_inside_is_refused(url: str) -> None:
    with pytest.raises(UrlRefusedError) as refused:
        guarded_url(url)
    assert "secret" not in str(refused.value)


def test_parts_of_what_may_be_used() -> None:
    found = guarded_url("HTTP://OCSP.Example.com:8080/a?b=c")
    assert (found.scheme, found.host, found.port, found.address) == ("http", "ocsp.example.com", 8080, None)
    assert guarded_url("https://example.com").port == 443
    assert guarded_url("sftp://example.com/logs", FILES).port == 22
    assert guarded_url("https://files.example.com./x").host == "files.example.com"
    assert guarded_url("https://ec2-54-1-2-3.compute.amazonaws.com/x").address is None
    assert guarded_url("https://xn--bcher-kva.example.com/%20x?y=%41#z").host == "xn--bcher-kva.example.com"
    assert guarded_url("https://firmware-1.2.3.4.example.com/").host == "firmware-1.2.3.4.example.com"
    assert guarded_url("https://2024.files.example.xn--p1ai/").address is None
    assert guarded_url("http://93.184.215.14/").address == ip_address("93.184.215.14")
    assert guarded_url("http://[2606:2800:21f::1]/").host == "2606:2800:21f::1"


def test_networks_of_the_operator_are_let_through() -> None:
    inside = networks("10.20.0.0/16, ::1")
    assert guarded_url("http://10.20.3.4/", allowed=inside).host == "10.20.3.4"
    assert guarded_url("http://[::1]/", allowed=inside).host == "::1"
    assert guarded_url("http://[fec0::7]/", allowed=networks("fec0::/10")).host == "fec0::7"
    check_address(ip_address("::ffff:10.20.0.1"), inside)
    for outside in ("http://10.21.0.1/", "http://127.0.0.1/"):
        with pytest.raises(UrlRefusedError):
            guarded_url(outside, allowed=inside)
    assert guarded_url("http://minio:9000/x", hosts={"minio"}).host == "minio"
    with pytest.raises(UrlRefusedError):
        guarded_url("http://minio.internal/x", hosts={"minio"})
    assert networks("") == ()
    with pytest.raises(ValueError, match="does not appear"):
        networks("everywhere")
