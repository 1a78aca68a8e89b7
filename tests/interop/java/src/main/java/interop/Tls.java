package interop;

import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** TLS from PEM files: CHARGER_CA, and for a certificate of our own CHARGER_CERTIFICATE and CHARGER_KEY (PKCS #8). */
final class Tls {
  private static final char[] NONE = new char[0];

  private Tls() {}

  static SSLContext context() throws Exception {
    KeyStore trusted = empty();
    trusted.setCertificateEntry("authority", certificate(System.getenv("CHARGER_CA")));
    TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(trusted);
    KeyManager[] keys = null;
    if (System.getenv("CHARGER_CERTIFICATE") != null) {
      Certificate own = certificate(System.getenv("CHARGER_CERTIFICATE"));
      KeyStore store = empty();
      store.setKeyEntry("own", key(own.getPublicKey().getAlgorithm()), NONE, new Certificate[] {own});
      KeyManagerFactory factory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
      factory.init(store, NONE);
      keys = factory.getKeyManagers();
    }
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys, trust.getTrustManagers(), null);
    return context;
  }

  private static KeyStore empty() throws Exception {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, NONE);
    return store;
  }

  private static Certificate certificate(String path) throws Exception {
    try (InputStream file = Files.newInputStream(Path.of(path))) {
      return CertificateFactory.getInstance("X.509").generateCertificate(file);
    }
  }

  private static PrivateKey key(String algorithm) throws Exception {
    String text = Files.readString(Path.of(System.getenv("CHARGER_KEY")));
    byte[] encoded = Base64.getMimeDecoder().decode(text.replaceAll("-----[A-Z ]+-----", ""));
    return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(encoded));
  }
}
