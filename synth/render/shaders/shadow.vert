#version 430
// Camera coordinates to a light's map: column and row in texels, height toward the light in metres.
uniform mat4 map_from_camera;
uniform float texels;
uniform vec2 heights;  // lowest and highest of the map
in vec3 point;

void main() {
    vec3 place = (map_from_camera * vec4(point, 1.0)).xyz;
    float depth = (heights.y - place.z) / (heights.y - heights.x);
    gl_Position = vec4(2.0 * (place.xy + 0.5) / texels - 1.0, 2.0 * depth - 1.0, 1.0);
}
