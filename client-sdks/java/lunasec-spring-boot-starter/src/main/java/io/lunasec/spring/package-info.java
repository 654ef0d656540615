/** LunaSec in Spring Boot. */
package io.lunasec.spring;
