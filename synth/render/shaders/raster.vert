#version 430
// Camera coordinates to clip coordinates; pixel centres at whole numbers, row 0 at the bottom of GL's picture, so that
// what is read back has the top row first. Infinite far plane.
uniform vec2 focal;   // px
uniform vec2 centre;  // px
uniform vec2 size;    // px
uniform float near;   // m
in vec3 point;

void main() {
    vec2 place = focal * point.xy + (centre + 0.5) * point.z;
    gl_Position = vec4(2.0 * place / size - point.z, point.z - 2.0 * near, point.z);
}
