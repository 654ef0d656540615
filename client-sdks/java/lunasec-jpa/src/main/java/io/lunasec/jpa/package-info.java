/** LunaSec tokens in JPA entities. */
package io.lunasec.jpa;
