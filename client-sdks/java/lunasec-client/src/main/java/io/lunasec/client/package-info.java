/** LunaSec tokenization from Java, through the sidecar's Unix socket. Begin with {@link io.lunasec.client.LunaSec}. */
package io.lunasec.client;
