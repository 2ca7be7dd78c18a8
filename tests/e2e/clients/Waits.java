// Has TLS of its own, says so, and runs until its input ends.

import javax.net.ssl.SSLContext;

public class Waits {
    public static void main(String[] arguments) throws Exception {
        System.out.println(SSLContext.getDefault().getProtocol());
        while (System.in.read() >= 0) {}
    }
}
